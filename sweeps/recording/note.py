"""The descriptions on which runs open in the MLflow UI. A sweep's says what was asked, what was found and where to see
more; a trial's leads to the report."""

from collections.abc import Sequence
from itertools import islice

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from analysis.record.mlflow_record import Record
from analysis.record.recorded import SweepRecord
from analysis.report_data import ReportData
from analysis.sections import summary
from analysis.writing.page import HTML, Text
from sweeps.recording.ui_state import TRAINING
from trainable.measures import DIFFERENCES, PREDICTED_CLASSES
from trainable.resolved_search import ResolvedSearch
from trainable.study import ResolvedTable

NOTE = MLFLOW_RUN_NOTE
"""Tag of a run: its description, in Markdown."""
FOUND = 3
"""So many results are said at most."""
LISTED = 6
"""Tables are named by their titles where there are no more than so many."""
OF_WINNERS = (PREDICTED_CLASSES, DIFFERENCES)
"""Measures of the tables that prove a search's winner. They have seeds of their own."""
REPORT_FOLDER = "report"
"""Folder of a sweep's artifacts with its report."""
REPORT = f"{REPORT_FOLDER}/{HTML}"


def trial_note(experiment_id: str, sweep_id: str) -> str:
    """The description of a trial."""
    return f"{_file(experiment_id, sweep_id, REPORT, 'The report')} of the sweep that trained it, when that has ended."


def sweep_note(data: ReportData, record: Record, sweep_id: str) -> str:
    """The description of a sweep. `data` is what its report is made from, and `record` is where that was read."""
    assert record.experiment_id is not None
    sweeps = record.sweeps()
    sweep = next(each for each in sweeps if each.run_id == sweep_id)
    found = [block.markdown for block in summary.section(data).blocks if isinstance(block, Text)][:FOUND]
    links = [_file(record.experiment_id, sweep_id, REPORT, "The report"), *_winners(record, sweep, sweeps)]
    asked = _asked(sweep.tables, sweep.searches, sweep.params.get("seeds", "?"))
    said = "\n".join(("**Found:**\n", *(f"- {line}" for line in found)))
    return "\n\n".join((" · ".join(links), asked, said))


def started_note(tables: Sequence[ResolvedTable], searches: Sequence[ResolvedSearch], seeds: int) -> str:
    """The description of a sweep that has not ended."""
    return f"{_asked(tables, searches, str(seeds))}\n\nIt has not ended. If it was stopped, the same command goes on."


def _asked(tables: Sequence[ResolvedTable], searches: Sequence[ResolvedSearch], seeds: str) -> str:
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


def _winners(record: Record, sweep: SweepRecord, sweeps: list[SweepRecord]) -> list[str]:
    """Links to the best configuration of each search and to its model, each in the last sweep that recorded it. One
    that only proves the same winner for more seeds has no model of its own."""
    client, links = record.client, list[str]()
    for search in sweep.searches:
        file = f"{search.winner}.yaml"
        runs = [each.run_id for each in reversed(sweeps) if search.winner in (other.winner for other in each.searches)]
        having = (run_id for run_id in runs if file in {each.path for each in client.list_artifacts(run_id)})
        links += [_file(record.experiment_id, run_id, file, "The best configuration") for run_id in islice(having, 1)]
        versions = (each for run_id in runs for each in client.search_model_versions(f"run_id = '{run_id}'"))
        links += [
            f"[Its model, {each.name}, version {each.version}](#/models/{each.name}/versions/{each.version}?{TRAINING})"
            for each in islice(versions, 1)
        ]
    return links


def _file(experiment_id: str | None, run_id: str, path: str, words: str) -> str:
    return f"[{words}](#/experiments/{experiment_id}/runs/{run_id}/artifacts/{path}?{TRAINING})"
