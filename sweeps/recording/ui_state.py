"""The saved views of MLflow's UI, in the form that its experiment page reads.

The form is private to MLflow. It was read from the sources of version 3.17, under
`mlflow/server/js/src/experiment-tracking/components`: `experiment-page/models/ExperimentPageUIState.tsx`,
`experiment-page/utils/savedViewEnvelope.ts`, `experiment-page/utils/experimentPage.group-row-utils.ts` and
`runs-charts/runs-charts.types.ts`. No other module knows it, and `tests/sweeps/recording/test_ui.py` fails where the
UI reads it otherwise. The UI leaves out what it does not know of a view. Of a view that it cannot read at all it says
so, and shows all runs.
"""

import base64
import json
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH

PREFIX = "mlflow.sharedViewState."
"""A view is a tag of the experiment: this and the view's key."""
TRAINING = "workflowType=machine_learning"
"""What addresses say so that the UI shows its part for training runs. By itself it opens the part for traces, and no
tag of an experiment changes that."""
RUN_COLOR = "mlflow.runColor"
"""Tag of a run: its colour in charts, as #RRGGBB."""
MOST_RUNS = 200
"""A chart shows so many runs at most."""
OTHER_METRICS = "Model metrics"
"""The UI's own section for the charts that it makes of all metrics whose names have no prefix. Metrics with a prefix
have a section of the prefix's name."""
NAME_COLUMN, CREATED_COLUMN, DURATION_COLUMN = "attributes.`Run Name`", "runDateAndNestInfo", "duration"
"""Columns that the UI always shows."""
WIDTHS = {NAME_COLUMN: 270, CREATED_COLUMN: 80, DURATION_COLUMN: 80}
"""Pixels. Without them the errors lie beyond the right edge."""


def metric(name: str) -> str:
    """The column of a metric; also what runs are ordered by."""
    return f"metrics.`{name}`"


def param(name: str) -> str:
    """The column of a parameter."""
    return f"params.`{name}`"


def tag(name: str) -> str:
    """The column of a tag; also what runs are ordered by."""
    return f"tags.`{name}`"


@dataclass(frozen=True)
class Chart:
    """A chart of the runs that are shown, or of the means of their groups."""

    type: str
    settings: Mapping[str, Any]
    """What this type of chart has besides what all charts have."""


def lines(name: str) -> Chart:
    """A metric by epoch. For groups: the mean, and a band from the smallest to the largest value."""
    return Chart("LINE", {"metricKey": name, "selectedMetricKeys": [name], "xAxisKey": "step", "lineSmoothness": 0})


def bars(name: str) -> Chart:
    """The last value of a metric."""
    return Chart("BAR", {"metricKey": name})


def scatter(parameter: str, name: str) -> Chart:
    """The last value of a metric by a parameter."""
    axes = {"xaxis": {"key": parameter, "type": "PARAM"}, "yaxis": {"key": name, "type": "METRIC"}}
    return Chart("SCATTER", axes)


def parallel(parameters: tuple[str, ...], name: str) -> Chart:
    """Parallel coordinates: each run as a line through its parameters to the last value of a metric."""
    settings = {"selectedParams": list(parameters), "selectedMetrics": [name], "showAllRuns": True}
    return Chart("PARALLEL", settings)


def images(key: str, step: int) -> Chart:
    """The images that were logged under a key, with a slider for the step, which starts at `step`."""
    return Chart("IMAGE", {"imageKeys": [key], "step": step, "showRunParams": False})


@dataclass(frozen=True)
class Section:
    """Charts under a heading, on the page of charts."""

    title: str
    charts: tuple[Chart, ...]
    columns: int = 2
    """Charts beside each other."""
    height: int = 320
    """Of a chart, in pixels."""


@dataclass(frozen=True)
class View:
    """What the experiment page shows: which runs in which order, which columns, which charts."""

    key: str
    """Its name in an address."""
    title: str
    runs: str
    """The filter, in the language of MLflow's search."""
    order: str
    """A column: ascending."""
    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    group_by: str = ""
    """A tag: the runs with the same value are one line with their mean. Empty: each run is a line."""
    groups: tuple[str, ...] = ()
    """The values of that tag. Each is a folded line."""
    list_hidden: bool = False
    """Whether the page of charts has their whole width, without the list of the runs."""

    def tag(self, age: int, prefixes: Collection[str]) -> tuple[str, str]:
        """The experiment's tag: its name and its value.

        The UI lists the views with the smallest age first. It makes charts of all metrics; those that the view does not
        have are in folded sections, one for each of the `prefixes` that the metrics' names have. Of more groups than a
        tag can hold, some thousands, none is folded.
        """
        packed = base64.b64encode(zlib.compress(json.dumps(self._state(prefixes)).encode())).decode()
        envelope = {"name": self.title, "createdAt": -age, "updatedAt": -age, "state": f"deflate;{packed}"}
        value = json.dumps(envelope)
        if self.groups and len(value) > MAX_EXPERIMENT_TAG_VAL_LENGTH:
            return replace(self, groups=()).tag(age, prefixes)
        return PREFIX + self.key, value

    def _state(self, prefixes: Collection[str]) -> dict[str, Any]:
        keys = [{"mode": "tag", "groupByData": self.group_by}]
        sections = [(f"section-{number}", section) for number, section in enumerate(self.sections)]
        others = [Section(title, ()) for title in (OTHER_METRICS, *sorted(prefixes))]
        return {
            "searchFilter": self.runs,
            "orderByKey": self.order,
            "orderByAsc": True,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": list(self.columns),
            "columnOrder": [NAME_COLUMN, *self.columns, DURATION_COLUMN, CREATED_COLUMN],
            "columnWidths": WIDTHS,
            "runsExpanded": {},
            "runsPinned": [],
            "runsHidden": [],
            "runsHiddenMode": "SHOW_ALL",
            "runsVisibilityMap": {},
            "compareRunSections": [
                *(_section(uuid, section, shown=True) for uuid, section in sections),
                *(_section(f"other-{section.title}", section, shown=False) for section in others),
            ],
            "compareRunCharts": [
                _chart(f"{uuid}-{number}", uuid, chart)
                for uuid, section in sections
                for number, chart in enumerate(section.charts)
            ],
            "viewMaximized": False,
            "runListHidden": self.list_hidden,
            "isAccordionReordered": True,
            "useGroupedValuesInCharts": True,
            "hideEmptyCharts": True,
            "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if self.group_by else None,
            "groupsExpanded": {f"tag.{self.group_by}.{value}": False for value in self.groups},
            "autoRefreshEnabled": True,
        }


def link(experiment_id: str, key: str) -> str:
    """The address of a view, after the server's."""
    return f"/#/experiments/{experiment_id}/runs?{TRAINING}&viewStateShareKey={key}"


def _section(uuid: str, section: Section, *, shown: bool) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "name": section.title,
        "display": shown,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": section.columns,
        "cardHeight": section.height,
    }


def _chart(uuid: str, section: str, chart: Chart) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "type": chart.type,
        "metricSectionId": section,
        "runsCountToCompare": MOST_RUNS,
        "deleted": False,
        "isGenerated": False,
        **chart.settings,
    }
