"""The descriptions on which runs open in the MLflow UI. A sweep's says what was asked, and once it has ended what was
found and where to see more (`sweep_note`); a trial's leads to the report."""

from collections.abc import Sequence

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from analysis.writing.page import HTML
from sweeps.recording.ui_state import TRAINING
from trainable.measures import DIFFERENCES, PREDICTED_CLASSES
from trainable.resolved_search import ResolvedSearch
from trainable.study import ResolvedTable

NOTE = MLFLOW_RUN_NOTE
"""Tag of a run: its description, in Markdown."""
LISTED = 6
"""Tables are named by their titles where there are no more than so many."""
OF_WINNERS = (PREDICTED_CLASSES, DIFFERENCES)
"""Measures of the tables that prove a search's winner. They have seeds of their own."""
REPORT_FOLDER = "report"
"""Folder of a sweep's artifacts with its report."""
REPORT = f"{REPORT_FOLDER}/{HTML}"


def trial_note(experiment_id: str, sweep_id: str) -> str:
    """The description of a trial."""
    return (
        f"{file_link(experiment_id, sweep_id, REPORT, 'The report')} of the sweep that trained it, when that has ended."
    )


def started_note(tables: Sequence[ResolvedTable], searches: Sequence[ResolvedSearch], seeds: int) -> str:
    """The description of a sweep that has not ended."""
    return (
        f"{asked_text(tables, searches, str(seeds))}\n\nIt has not ended. If it was stopped, the same command goes on."
    )


def asked_text(tables: Sequence[ResolvedTable], searches: Sequence[ResolvedSearch], seeds: str) -> str:
    """The tables and the searches of a sweep, with how much is trained of each."""
    asked = []
    if tables := [table for table in tables if table.measure not in OF_WINNERS]:
        configs = [row.config for table in tables for row in table.rows]
        epochs = " or ".join(map(str, sorted({config.epochs for config in configs})))
        named = [f"{table.number} ({table.title})" if len(tables) <= LISTED else table.number for table in tables]
        asked.append(f"Tables {', '.join(named)}: {seeds} seeds, {epochs} epochs on {configs[0].data}")
    asked += [
        f"{search.title}: {search.samples} samples, {search.base.epochs} epochs on {search.base.data}"
        for search in searches
    ]
    return f"**Asked:** {'; '.join(asked)}."


def file_link(experiment_id: str | None, run_id: str, path: str, words: str) -> str:
    """A link to an artifact of a run, in Markdown."""
    return f"[{words}](#/experiments/{experiment_id}/runs/{run_id}/artifacts/{path}?{TRAINING})"
