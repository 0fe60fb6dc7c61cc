"""A real browser on the MLflow UI, and on other pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Locator, Page, ViewportSize, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TIMEOUT_MS = 60_000
WIDE: ViewportSize = {"width": 1600, "height": 900}
NARROW: ViewportSize = {"width": 1280, "height": 800}


@contextmanager
def open_browser(address: str) -> Iterator[Page]:
    """A tab that shows the MLflow UI: nothing is set up but that its assistant, which opens once, is closed."""
    with open_tab(address) as page:
        page.get_by_label("Close", exact=True).first.click()
        yield page


@contextmanager
def open_tab(address: str) -> Iterator[Page]:
    """A tab of a fresh browser."""
    assert CHROMIUM, "chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport=WIDE)
        page.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)  # its own default is 5 s: too short for charts on a slow machine
        page.goto(address)
        yield page
        browser.close()


def open_charts(page: Page) -> None:
    """From the table of a view to its charts."""
    page.locator("label:has(input[value='CHART'])").click()
    expect(page.get_by_test_id("experiment-view-compare-runs-chart-area")).to_be_visible()


def chart(page: Page, title: str) -> Locator:
    """A chart in an open section, by its title."""
    return page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.get_by_text(title, exact=True))
