"""The description of a sweep that has ended. It needs what the report is made from; `note` has those that need less."""

from itertools import islice

from analysis.record.mlflow_record import Record
from analysis.record.recorded import SEEDS, SweepRecord
from analysis.report_data import ReportData
from analysis.sections import summary
from analysis.writing.page import Text
from sweeps.recording.note import REPORT, asked_text, file_link
from sweeps.recording.ui_state import TRAINING

FOUND = 3
"""So many results are said at most."""


def sweep_note(data: ReportData, record: Record, sweep_id: str) -> str:
    """The description of a sweep. `data` is what its report is made from, and `record` is where that was read."""
    assert record.experiment_id is not None
    sweeps = record.sweeps()
    sweep = next(each for each in sweeps if each.run_id == sweep_id)
    found = [block.markdown for block in summary.section(data).blocks if isinstance(block, Text)][:FOUND]
    links = [file_link(record.experiment_id, sweep_id, REPORT, "The report"), *_winners(record, sweep, sweeps)]
    asked = asked_text(sweep.tables, sweep.searches, sweep.params.get(SEEDS, "?"))
    said = "\n".join(("**Found:**\n", *(f"- {line}" for line in found)))
    return "\n\n".join((" · ".join(links), asked, said))


def _winners(record: Record, sweep: SweepRecord, sweeps: list[SweepRecord]) -> list[str]:
    """Links to the best configuration of each search and to its model, each in the last sweep that recorded it. One
    that only proves the same winner for more seeds has no model of its own."""
    client, links = record.client, list[str]()
    for search in sweep.searches:
        file = f"{search.winner}.yaml"
        runs = [each.run_id for each in reversed(sweeps) if search.winner in (other.winner for other in each.searches)]
        having = (run_id for run_id in runs if file in {each.path for each in client.list_artifacts(run_id)})
        links += [
            file_link(record.experiment_id, run_id, file, "The best configuration") for run_id in islice(having, 1)
        ]
        versions = (each for run_id in runs for each in client.search_model_versions(f"run_id = '{run_id}'"))
        links += [
            f"[Its model, {each.name}, version {each.version}](#/models/{each.name}/versions/{each.version}?{TRAINING})"
            for each in islice(versions, 1)
        ]
    return links
