"""Pictures of the MLflow UI over an embedded record of CIFAR-10, for the documentation.

python -m sweeps.transfer import docs/record --tracking-uri sqlite:///record/mlflow.db
python -m tests.ui_pictures sqlite:///record/mlflow.db docs/ui
"""

import sys
from pathlib import Path

from playwright.sync_api import Page, expect

from analysis.record.embedded import ARTIFACTS, database_of
from analysis.record.mlflow_record import Record
from sweeps.recording.ui_state import link
from tests.browser import open_browser, open_charts
from tests.servers import Server

EXPERIMENT = "ablations-cifar10"
DRAWING_MS = 5000
"""Until all charts are drawn."""
PICTURES = {
    "study": ("runs", None),
    "table-6": ("table", "table-charts"),
    "search-search": ("search", "search-charts"),
    "kernels": (None, "kernels"),
}
"""Of each view the name of the picture of its table, and of that of its charts."""


def take(tracking_uri: str, folder: Path) -> None:
    """Write the pictures to a folder."""
    record, database = Record(tracking_uri, EXPERIMENT), database_of(tracking_uri)
    assert database and record.experiment_id, tracking_uri
    server = Server(database.parent, tracking_uri, ARTIFACTS)
    try:
        with open_browser(server.uri + link(record.experiment_id, "study")) as page:
            for view, (table, charts) in PICTURES.items():
                page.goto("about:blank")
                page.goto(server.uri + link(record.experiment_id, view))
                if table:
                    expect(page.locator(".ag-center-cols-container .ag-row").first).to_be_visible()
                    save(page, folder, table)
                if charts:
                    open_charts(page)
                    save(page, folder, charts)
    finally:
        server.kill()


def save(page: Page, folder: Path, name: str) -> None:
    page.wait_for_timeout(DRAWING_MS)
    page.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    take(sys.argv[1], Path(sys.argv[2]))
