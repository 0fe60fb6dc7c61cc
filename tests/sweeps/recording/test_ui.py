"""The MLflow UI over a finished sweep, driven in a real browser: what a person sees without setting anything up."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pytest
from playwright.sync_api import Page, expect

from analysis.record.mlflow_record import Record
from analysis.record.recorded import TrialRecord
from sweeps.recording.ui_state import PREFIX, link
from tests.browser import NARROW, WIDE, chart, open_browser, open_charts
from tests.servers import Server

pytestmark = [pytest.mark.ui, pytest.mark.timeout(600)]
OPTIMIZERS = ["Adam", "SGD", "Momentum", "Adagrad"]
"""The rows of table 6 in its order."""


@dataclass(frozen=True)
class Ui:
    """The UI over the record of a small sweep."""

    address: str
    printed: str
    """The address that the sweep has printed, on this server."""
    record: Record

    def trials(self) -> dict[str, TrialRecord]:
        """The trials of the first seed, by name."""
        return {trial.name: trial for trial in self.record.trials() if 0 in trial.seeds}


@pytest.fixture(scope="module")
def ui(swept: Path) -> Iterator[Ui]:
    folder, output = swept, (swept / "output.txt").read_text()
    printed = re.search(r"open http://127.0.0.1:5000(/\S+)", output)
    assert printed, output
    uri = f"sqlite:///{folder}/mlflow.db"
    server = Server(folder, uri, artifacts="mlartifacts")
    yield Ui(server.uri, server.uri + printed[1], Record(uri, "ablations-digits"))
    server.kill()


@pytest.fixture(scope="module")
def page(ui: Ui) -> Iterator[Page]:
    """A tab of a browser, in which the whole study is open."""
    with open_browser(ui.printed) as page:
        yield page


def open_view(page: Page, ui: Ui, title: str) -> None:
    """From the link that a sweep prints, by the UI's list of views."""
    page.goto("about:blank")
    page.goto(ui.printed)
    views = page.get_by_test_id("saved-views-trigger")
    expect(views).to_have_text("Study")
    views.click()
    page.get_by_role("menuitem", name=title).first.click()
    expect(views).to_contain_text(title)


def expect_lines(page: Page, names: list[str]) -> None:
    """The table has these lines, in this order."""
    rows = page.locator(".ag-pinned-left-cols-container .ag-row")
    expect(rows).to_have_count(len(names))
    for index, name in enumerate(names):
        row = page.locator(f".ag-pinned-left-cols-container .ag-row[row-index='{index}']")
        expect(row).to_contain_text(re.compile(rf"{re.escape(name)}(\d|-|\s|$)"))


def expect_in_sight(page: Page, columns: list[str]) -> None:
    """These columns are wholly within the window at both of its sizes, in this order."""
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)
        headers = [page.locator(".ag-header-cell").filter(has=page.get_by_text(name, exact=True)) for name in columns]
        for header in headers:
            expect(header).to_be_in_viewport(ratio=0.99)
        lefts = [box["x"] for header in headers if (box := header.bounding_box())]
        assert lefts == sorted(lefts)


def test_a_table_is_shown_as_it_is_named_and_ordered_with_its_errors_in_sight(ui: Ui, page: Page) -> None:
    open_view(page, ui, "Table 6. Optimizer")
    expect_lines(page, OPTIMIZERS)
    expect_in_sight(
        page, ["Run Name", "test_error", "best_test_error", "train_error", "best_train_error", "training_s"]
    )
    seeds = [trial.metrics["test_error"] for trial in ui.record.trials() if trial.name == "optimizer-Adagrad"]
    assert len(seeds) == 2, "each seed is a trial of its own on a CPU"
    row = page.locator(".ag-center-cols-container .ag-row[row-index='3']")
    expect(row.locator("[col-id='metrics.`test_error`']")).to_contain_text(f"{mean(seeds):.6f}"[:-1])
    open_charts(page)
    for error in ("test_error", "train_error"):
        lines_of_rows = chart(page, error).first.locator(".scatterlayer .trace")
        expect(lines_of_rows).to_have_count(3 * len(OPTIMIZERS))  # for each row a line, its smoothed twin and its band
    for error in ("test_error", "best_test_error"):
        bars = chart(page, error).last
        bars.scroll_into_view_if_needed()
        expect(bars.locator(".barlayer .point")).to_have_count(len(OPTIMIZERS))


def test_the_whole_study_opens_from_the_link_that_a_sweep_prints(ui: Ui, page: Page) -> None:
    page.goto("about:blank")
    page.goto(ui.printed)
    rows = ["baseline", *(f"optimizer-{name}" for name in OPTIMIZERS[1:]), "batch-norm-yes", "search-proof-winner"]
    expect_lines(page, rows)
    expect_in_sight(
        page, ["Run Name", "test_error", "best_test_error", "train_error", "best_train_error", "training_s"]
    )


def test_a_search_shows_what_its_parameters_do_and_marks_the_winner(ui: Ui, page: Page) -> None:
    open_view(page, ui, "Search. The search for the best")
    searched = [t for t in ui.trials().values() if t.tags["study"] == "search" and t.seeds == (0,)]
    expect_lines(page, [trial.name for trial in sorted(searched, key=lambda trial: trial.metrics["val_error"])])
    expect_in_sight(page, ["Run Name", "winner", "reference", "val_error"])
    (winner,) = (trial for trial in searched if "winner" in trial.tags)
    place = page.locator(".ag-row", has=page.get_by_role("link", name=winner.name, exact=True)).get_attribute(
        "row-index"
    )
    cells = page.locator(f".ag-center-cols-container .ag-row[row-index='{place}']")
    expect(cells.locator("[col-id='tags.`winner`']")).to_have_text("yes")
    open_charts(page)
    expect(page.locator(".parcoords").first).to_be_visible()
    curves = chart(page, "val_error").last  # the first one has it as an axis
    curves.scroll_into_view_if_needed()
    expect(curves.locator(".scatterlayer .trace").first).to_be_visible()
    by_parameter = page.get_by_test_id("experiment-view-compare-runs-card").filter(has_text="vs. val_error")
    expect(by_parameter).to_have_count(2)
    expect(by_parameter.first.locator(".scatterlayer .point")).to_have_count(len(searched))


def test_kernels_are_beside_each_other_after_the_training_and_by_epoch(ui: Ui, page: Page) -> None:
    open_view(page, ui, "Kernels")
    open_charts(page)
    trained, by_epoch = (chart(page, title) for title in ("trained_kernels", "kernels"))
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)
        drawn = trained.locator("img[src*='kernels']")
        expect(drawn).to_have_count(3)
        boxes = [box for image in drawn.all() if (box := image.bounding_box())]
        assert len({round(box["y"]) for box in boxes}) == 1 and boxes[-1]["x"] + boxes[-1]["width"] < size["width"]
    names = trained.inner_text()
    assert names.index("baseline") < names.index("batch-norm-yes") < names.index("search-proof-winner")
    expect(by_epoch.get_by_role("slider").first).to_have_attribute("aria-valuenow", "0")
    expect(by_epoch.locator("img[src*='kernels']")).to_have_count(3)


def test_cost_shows_time_memory_and_use_of_the_device(ui: Ui, page: Page) -> None:
    open_view(page, ui, "Cost")
    expect_in_sight(page, ["Run Name", "epochs", "training_s", "seed_epoch_s", "peak_memory_mb", "cpu_share"])
    for trial in ui.trials().values():
        if trial.complete:
            assert trial.metrics["peak_memory_mb"] > 100 and 0 < trial.metrics["cpu_share"] < 4
    open_charts(page)
    for metric in ("training_s", "seed_epoch_s", "peak_memory_mb", "cpu_share"):
        bars = chart(page, metric).first
        bars.scroll_into_view_if_needed()
        expect(bars.locator(".barlayer .point").first).to_be_visible()


def test_a_sweep_opens_on_what_was_asked_and_found_and_the_report_is_a_click_away(ui: Ui, page: Page) -> None:
    (sweep,) = ui.record.sweeps()
    page.goto(f"{ui.address}/#/experiments/1/runs/{sweep.run_id}")
    expect(page.get_by_role("link", name="The best configuration")).to_be_visible()
    for said in ("Tables 6 (Optimizer), 7 (Batch normalisation): 2 seeds, 2 epochs on digits", "Batch norm"):
        expect(page.get_by_text(said).first).to_be_attached()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Its model, ablations-digits-best-bn, version 1").click()
    expect(opened.value.get_by_text("ablations-digits-best-bn").first).to_be_visible()
    opened.value.close()
    page.goto(f"{ui.address}/#/experiments/1/runs/{ui.trials()['baseline'].run_id}")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="The report").click()
    report = opened.value.frame_locator("iframe").first
    expect(report.get_by_role("heading", name="Table 6. Optimizer")).to_be_visible()
    assert report.locator("img").first.evaluate("image => image.naturalWidth") > 300
    opened.value.close()


def test_trials_are_found_by_their_data(ui: Ui, page: Page) -> None:
    open_view(page, ui, "Search. The search for the best")
    page.get_by_test_id("datasets-select-dropdown").click()
    expect(page.get_by_text("digits-validation").first).to_be_visible()
    (baseline,) = ui.record.client.search_runs(
        ["1"], "dataset.name = 'digits-test' and attributes.run_name = 'baseline' and tags.seeds = '[0]'"
    )
    inputs = {each.tags[0].value: each.dataset for each in baseline.inputs.dataset_inputs}
    assert inputs.keys() == {"train", "test"}
    assert baseline.data.tags["data_fingerprint"].startswith(inputs["train"].digest)


def test_a_view_that_the_ui_does_not_understand_does_not_break_the_page(ui: Ui, page: Page) -> None:
    """As it is where another version of MLflow reads the views."""
    client = ui.record.client
    client.set_experiment_tag("1", f"{PREFIX}broken", '{"name": "Broken", "createdAt": 0, "state": "deflate;no"}')
    page.goto("about:blank")
    page.goto(f"{ui.address}{link('1', 'broken')}")
    expect(page.get_by_test_id("runs-search-autocomplete")).to_be_visible()
    client.delete_experiment_tag("1", f"{PREFIX}broken")
