"""The descriptions on which runs open in the MLflow UI. A sweep's says what was asked, what was found and where to see
more; a trial's leads to the report."""

from collections.abc import Sequence

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from analysis.page import Text
from analysis.record import Record
from analysis.recorded import SweepRecord
from analysis.report_data import ReportData
from analysis.sections import summary
from sweeps.recording.ui_state import TRAINING
from trainable.search_definition import ResolvedSearch
from trainable.study import ResolvedTable

NOTE = MLFLOW_RUN_NOTE
"""Tag of a run: its description, in Markdown."""
FOUND = 3
"""So many results are said at most."""
LISTED = 6
"""Tables are named by their titles where there are no more than so many."""
REPORT = "report/index.html"
"""The report, among a sweep's artifacts."""


def trial_note(experiment_id: str, sweep_id: str) -> str:
    """The description of a trial."""
    return f"{_file(experiment_id, sweep_id, REPORT, 'The report')} of the sweep that trained it, when that has ended."


def sweep_note(data: ReportData, record: Record, sweep_id: str) -> str:
    """The description of a sweep. `data` is what its report is made from, and `record` is where that was read."""
    assert record.experiment_id is not None
    sweeps = record.sweeps()
    sweep = next(each for each in sweeps if each.run_id == sweep_id)
    found = [block.text for block in summary.section(data).blocks if isinstance(block, Text)][:FOUND]
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
    measured = [] if searches else tables  # a search's are its proof, which has seeds of its own
    if tables := [table for table in tables if table.compares_errors] or measured:
        (data, epochs), *_ = [(row.config.data, row.config.epochs) for row in tables[0].rows]
        named = [f"{table.number} ({table.title})" if len(tables) <= LISTED else table.number for table in tables]
        asked.append(f"Tables {', '.join(named)}: {seeds} seeds, {epochs} epochs on {data}")
    asked += [
        f"{search.title}: {search.samples} samples, {search.base.epochs} epochs on {search.base.data}"
        for search in searches
    ]
    return f"**Asked:** {'; '.join(asked)}."


def _winners(record: Record, sweep: SweepRecord, sweeps: list[SweepRecord]) -> list[str]:
    """Links to the best configuration of each search and to its model: those of the last sweep that recorded them."""
    links = []
    for search in sweep.searches:
        recorded = [
            each.run_id for each in reversed(sweeps) if search.winner in (other.winner for other in each.searches)
        ]
        for run_id in recorded:
            if versions := record.client.search_model_versions(f"run_id = '{run_id}'"):
                name, version = versions[0].name, versions[0].version
                links += [
                    _file(record.experiment_id, run_id, f"{search.winner}.yaml", "The best configuration"),
                    f"[Its model, {name}, version {version}](#/models/{name}/versions/{version}?{TRAINING})",
                ]
                break
    return links


def _file(experiment_id: str | None, run_id: str, path: str, words: str) -> str:
    return f"[{words}](#/experiments/{experiment_id}/runs/{run_id}/artifacts/{path}?{TRAINING})"
