"""The report on a sweep's run: the last thing that a sweep owes. One that dies before leaves it to the next command."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from rich.console import Console

from analysis.commandline.passwords import hide_passwords, traceback_of
from analysis.prices import Prices
from analysis.record.mlflow_record import Record
from analysis.record.recorded import REPORTED
from analysis.record.trial_errors import last_error
from analysis.report import write_report
from analysis.report_data import ReportData
from sweeps.recording.note import NOTE, REPORT_FOLDER
from sweeps.recording.sweep_note import sweep_note
from sweeps.recording.views import present
from trainable.errors import CommandError

logger = logging.getLogger(__name__)


def sweep_report(record: Record, run_id: str, prices: Prices) -> Callable[[MlflowClient], None]:
    """Make the report of a record with money at these prices, the description of a sweep's run and the views of the UI.

    Returns what writes them there, in the form that `Recorder.act` takes. It keeps the files until it is done or given
    up, also where the recorder writes later than the sweep waits.
    """
    folder = tempfile.TemporaryDirectory()
    data = ReportData(record, Path(folder.name), prices=prices)
    write_report(data, embed=True)  # the UI opens the page alone
    note, views = sweep_note(data, record, run_id), present(record)

    def write(client: MlflowClient) -> None:
        client.log_artifacts(run_id, folder.name, REPORT_FOLDER)
        client.set_tag(run_id, NOTE, note)
        views.write(client)
        client.set_tag(run_id, REPORTED, "yes")

    return write


def say_failure(console: Console, failure: str, error: Exception) -> None:
    """Say that something computed from the record failed: the finished trials must not look lost."""
    if isinstance(error, CommandError):
        cause = str(error)
    else:
        logger.error("%s\n%s", failure, traceback_of(error))
        cause = last_error(f"{type(error).__name__}: {error}".rstrip(": "))
    console.print(f"{failure}: {hide_passwords(cause)}; the trials are recorded all the same", style="red")
