"""The MLflow UI over a finished sweep, driven in a real browser: what a person sees without setting anything up."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.conftest import ROOT, sweep_command

pytestmark = [pytest.mark.ui, pytest.mark.timeout(420)]
CHROMIUM = shutil.which("chromium")
BROWSER = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
ARGUMENTS = ["--data", "digits", "--studies", "tables,search", "--only", "6,7", "--epochs", "4", "--samples", "3",
             "--proof-seeds", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The UI's address, over the record of a small sweep."""
    folder = tmp_path_factory.mktemp("ui")
    subprocess.run(sweep_command(*ARGUMENTS), cwd=folder, capture_output=True, timeout=240, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.txt").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "1"], cwd=folder, stdout=log, stderr=log, env=environment,
            start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def wait_for(address: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            if requests.get(f"{address}/health", timeout=2).ok:
                return
        except requests.RequestException:
            pass
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: $UI_SCREENSHOTS, as in UI_SCREENSHOTS=docs/ui, or nowhere that stays."""
    named = os.environ.get("UI_SCREENSHOTS")
    return ROOT / named if named else tmp_path_factory.mktemp("screenshots")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A tab of a fresh browser: nothing is set up."""
    assert CHROMIUM, "chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER)
        page = browser.new_page(viewport={"width": 1900, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def open_study(page: Page, server: str) -> None:
    """The study's view, its sweep opened to its trials."""
    page.goto(f"{server}/#/experiments/1/runs?viewStateShareKey=study")
    parent = page.locator(".ag-row [col-id='attributes.`Run Name`']").first
    expect(parent).to_be_visible()
    if (assistant := page.get_by_label("Close")).count():
        assistant.first.click()
    parent.locator("button").first.click()
    expect(run(page, "baseline")).to_be_visible()


def run(page: Page, name: str) -> Locator:
    """A run's link in the table."""
    return page.locator(".ag-row").get_by_role("link", name=name, exact=True)


def select(page: Page, name: str) -> None:
    """Tick a run's box."""
    link = page.get_by_role("link", name=name, exact=True)
    row = page.locator(".ag-row", has=link).get_attribute("row-id")
    page.locator(f"[row-id='{row}'] .ag-checkbox-input").first.check()


def test_the_experiment_opens_with_nested_trials_and_the_columns_that_matter(
    server: str, page: Page, pictures: Path
) -> None:
    open_study(page, server)
    for name in ("optimizer-SGD", "optimizer-Adagrad", "batch-norm-yes", "search-001"):
        expect(run(page, name).first).to_be_visible()
    header = page.locator(".ag-header")
    for column in ("test_error", "best_test_error", "train_error", "table", "row", "seeds"):
        expect(header.get_by_text(column, exact=True)).to_be_visible()
    expect(page.get_by_role("gridcell", name="6/Adam, 7/no")).to_be_visible()
    page.screenshot(path=pictures / "runs.png")


def test_rows_of_a_table_are_compared(server: str, page: Page, pictures: Path) -> None:
    open_study(page, server)
    for name in ("baseline", "optimizer-SGD", "optimizer-Adagrad"):
        select(page, name)
    page.get_by_test_id("runs-compare-button").click()
    expect(page.get_by_text("Comparing 3 Runs from 1 Experiment")).to_be_visible()
    page.get_by_text("Show diff only").first.click()
    parameters = page.locator("table", has=page.get_by_text("optimizer", exact=True)).first
    expect(parameters.get_by_text("adagrad", exact=True)).to_be_visible()
    expect(page.get_by_role("cell", name="dropout", exact=True)).to_have_count(0)
    page.screenshot(path=pictures / "compare.png", full_page=True)
    page.get_by_role("link", name="test_error", exact=True).first.click()
    plot = page.locator(".js-plotly-plot").first
    expect(plot).to_be_visible()
    expect(plot.locator(".scatterlayer .trace")).to_have_count(6)  # a line and its smoothed twin for each run
    page.screenshot(path=pictures / "curves.png")


def test_kernels_grow_and_the_report_opens(server: str, page: Page, pictures: Path) -> None:
    open_study(page, server)
    run(page, "batch-norm-yes").click()
    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill("kernels")
    image = page.locator("img[src*='kernels']").first
    expect(image).to_be_visible()
    page.wait_for_function("image => image.naturalWidth > 100", arg=image.element_handle())
    expect(page.get_by_role("slider").first).to_be_visible()
    page.screenshot(path=pictures / "kernels.png")
    open_study(page, server)
    page.locator(".ag-row").get_by_role("link", name="tables-search").click()
    page.wait_for_url("**/runs/*")
    page.goto(f"{page.url.split('?')[0].rstrip('/')}/artifacts/report/index.html")
    report = page.frame_locator("iframe").first
    expect(report.get_by_role("heading", name="Table 6. Optimizer")).to_be_visible()
    assert report.locator("img").first.evaluate("image => image.naturalWidth") > 300
    expect(report.get_by_role("heading", name="Hyperparameter search", exact=True)).to_be_attached()
    page.screenshot(path=pictures / "report.png")
