"""The end of a sweep: it is told to `--notify`, and a sweep with nothing to train finishes what dead sweeps left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from mlflow import MlflowClient
from rich.console import Console

from analysis.record.mlflow_record import Record
from analysis.record.recorded import REPORTED, RunStatus, SweepRecord
from sweeps.notifier import Notifier
from sweeps.planning.options import Options
from sweeps.recording.drivers import driver_machine, end_abandoned, end_sweep
from sweeps.recording.heartbeats import HEARTBEAT, Heartbeats
from sweeps.recording.sweep_report import say_failure, sweep_report

LOOK_S = 1.0
"""Seconds between two looks at another sweep's heartbeat."""


def sweep_name(options: Options) -> str:
    """The name that was asked for, or one of the studies and the time."""
    return options.name or f"{'-'.join(options.studies)}-{datetime.now():%Y%m%d-%H%M%S}"


@contextmanager
def notifying(options: Options, name: str, console: Console) -> Iterator[Notifier]:
    """What tells of the sweep of that name where `--notify` asks for it. It tells the end whatever ends the sweep, and
    what could not be told is said."""
    notifier = Notifier(options.notify, sweep=name, experiment=options.experiment, record=options.tracking_uri)
    try:
        yield notifier
    finally:
        if not_told := notifier.close():
            console.print(not_told, style="yellow", soft_wrap=True)


def end_complete_sweep(options: Options, record: Record, console: Console) -> bool:
    """End a sweep for which nothing is left to train. Returns False, and says why, where its report cannot be made."""
    with notifying(options, sweep_name(options), console) as notifier:
        well = _finish_dead_sweeps(record, options, console)
        notifier.status = RunStatus.FINISHED if well else RunStatus.FAILED
    return well


def _finish_dead_sweeps(record: Record, options: Options, console: Console) -> bool:
    """Do what dead sweeps have left undone although every training is recorded: end their runs, delete what Ray Tune
    wrote for them, and write the report where the newest sweep has none. A report is on the whole record, so that one
    is enough.

    Returns False, and says why, where the report cannot be made.
    """
    end_abandoned(record, options.storage_path)
    newest = next(reversed(record.sweeps()), None)
    if newest is None or REPORTED in newest.tags:
        return True
    if newest.status == RunStatus.RUNNING and not _ended_elsewhere(record.client, newest, console):
        return True
    try:
        with console.status("writing the report of the last sweep"):
            sweep_report(record, newest.run_id, options.prices)(record.client)
    except Exception as error:
        say_failure(console, "no report", error)
        return False
    return True


def _ended_elsewhere(client: MlflowClient, sweep: SweepRecord, console: Console) -> bool:
    """End the sweep of a driver on another machine if that is dead: a living one raises its heartbeat. Returns whether
    it was ended here."""
    heartbeats, run = Heartbeats(), client.get_run(sweep.run_id)
    first, where = run.data.tags.get(HEARTBEAT), f"{sweep.name} on {driver_machine(run)}"
    with console.status(f"waiting to see whether {where} still runs"):
        while run.info.status == RunStatus.RUNNING and run.data.tags.get(HEARTBEAT) == first:
            if heartbeats.silent(run):
                end_sweep(client, run)
                return True
            time.sleep(LOOK_S)
            run = client.get_run(sweep.run_id)
    return False
