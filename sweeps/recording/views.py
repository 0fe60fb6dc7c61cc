"""The MLflow UI's view of a study: the columns that matter, there without set-up.

A saved view is a tag of the experiment; the UI lists it under "Views" and opens it from a link.
"""

import base64
import json
import zlib

KEY = "study"
TAG = f"mlflow.sharedViewState.{KEY}"
COLUMNS = (
    "tags.`table`", "tags.`row`", "tags.`seeds`", "metrics.`test_error`", "metrics.`best_test_error`",
    "metrics.`train_error`", "metrics.`best_train_error`", "metrics.`best_val_error`", "metrics.`winner_test_error`",
)  # fmt: skip


def study_view() -> str:
    """The tag's value, in the form of MLflow 3.17's UI: its state as JSON, deflated."""
    state = {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(COLUMNS),
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": "Study", "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})


def link(experiment_id: str) -> str:
    """The view's address, after the server's."""
    return f"/#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}"
