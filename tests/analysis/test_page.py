"""The page in a real browser: phone, wide screen, dark and print."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.analysis_records import Recorded, page_of, sweep, table, trial
from tests.browser import OPTIONS
from trainable.config import Config

pytestmark = pytest.mark.ui


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with many seeds, whose tables are wider than a phone."""
    folder = tmp_path_factory.mktemp("page")
    errors = {seed: [0.3 + seed / 1000, 0.31] for seed in range(10)}
    configs = {"baseline": Config(epochs=2), "hinge": Config(epochs=2, loss="hinge")}
    trials = [trial(name, errors, config) for name, config in configs.items()]
    rows = tuple(
        row.model_copy(update={"key": each.key, "config": each.config})
        for row, each in zip(table().rows, trials, strict=True)
    )
    page_of(folder, Recorded(trials, sweep(table().model_copy(update={"rows": rows, "reference": rows[0].key}))))
    return (folder / "index.html").as_uri()


def opened(browser: Browser, address: str, width: int, scheme: str = "light") -> Page:
    page = browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    return page


@pytest.mark.parametrize("width", [360, 390, 800, 1280])
def test_wide_tables_scroll_in_their_box_and_the_page_does_not(width: int, browser: Browser, address: str) -> None:
    page = opened(browser, address, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wider = page.evaluate("[...document.querySelectorAll('.grid')].filter(g => g.scrollWidth > g.clientWidth).length")
    assert wider > 0 or width > 400, "a table here is wider than a phone"


def test_the_contents_stay_in_sight_on_a_wide_screen_only(browser: Browser, address: str) -> None:
    for width, stay in ((1600, True), (800, False)):
        page = opened(browser, address, width)
        page.evaluate("document.getElementById('settings').scrollIntoView()")
        box = page.locator("nav").bounding_box()
        assert box and (0 <= box["y"] < 700) == stay, width
        assert box["height"] <= 700 or not stay, "they scroll in themselves"


def test_it_is_dark_where_that_is_preferred_and_pictures_are_on_white(browser: Browser, address: str) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page = opened(browser, address, 800, scheme)
        colors = page.evaluate(
            "['body', 'figure img'].map(each => getComputedStyle(document.querySelector(each)).backgroundColor)"
        )
        grounds.append(colors[0])
        assert colors[1] == "rgb(255, 255, 255)"
    assert grounds[0] == "rgb(255, 255, 255)" and grounds[1] != grounds[0]


def test_print_is_light_without_contents(browser: Browser, address: str) -> None:
    page = opened(browser, address, 800, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = page.evaluate("[...document.querySelectorAll('.grid')].map(each => getComputedStyle(each).overflowX)")
    assert set(cut) == {"visible"}
