"""A sweep with nothing left to train: it finishes what dead sweeps have left."""

import time

from rich.console import Console

from analysis.record.heartbeats import HEARTBEAT, Heartbeats
from analysis.record.mlflow_record import Record
from analysis.record.recorded import REPORTED, ROLE, Role, RunStatus
from analysis.writing.words import listed, verb
from sweeps.notifier import notifying
from sweeps.planning.options import Options
from sweeps.recording.drivers import driver_machine, drives_here, end_abandoned, end_sweep
from sweeps.recording.sweep_report import say_failure, sweep_report

LOOK_S = 1.0
"""Seconds between two looks at another sweep's heartbeat."""


def end_complete_sweep(options: Options, record: Record, console: Console) -> bool:
    """End a sweep for which nothing is left to train. Returns False, and says why, where its report cannot be made."""
    with notifying(options, options.sweep_name(), console) as notifier:
        well = _finish_dead_sweeps(record, options, console)
        notifier.status = RunStatus.FINISHED if well else RunStatus.FAILED
    return well


def _finish_dead_sweeps(record: Record, options: Options, console: Console) -> bool:
    """Do what dead sweeps have left undone although every training is recorded: end their runs, delete what Ray Tune
    wrote for those of this machine, and write the report where the newest sweep has none. A report is on the whole
    record, so that one is enough.

    Returns False, and says why, where the report cannot be made.
    """
    end_abandoned(record, options.storage_path)
    _end_dead_elsewhere(record, console)
    newest = next(reversed(record.sweeps()), None)
    if newest is None or REPORTED in newest.tags or newest.status == RunStatus.RUNNING:
        return True
    try:
        with console.status("writing the report of the last sweep"):
            sweep_report(record, newest.run_id, options.prices)(record.client)
    except Exception as error:
        say_failure(console, "no report", error)
        return False
    return True


def _end_dead_elsewhere(record: Record, console: Console) -> None:
    """End the sweeps of drivers on other machines that are dead: those of living ones raise their heartbeat meanwhile,
    which takes seconds."""
    sweeps = [run for run in record.running() if run.data.tags.get(ROLE) == Role.SWEEP and not drives_here(run)]
    waiting = {run.info.run_id: run.data.tags.get(HEARTBEAT) for run in sweeps}
    if waiting:
        names = listed([f"{run.info.run_name} on {driver_machine(run)}" for run in sweeps])
        console.print(f"waiting to see whether {names} still {verb(len(sweeps), 'run')}")
    heartbeats = Heartbeats()
    while waiting:
        for run in [record.client.get_run(run_id) for run_id in waiting]:
            beats = run.data.tags.get(HEARTBEAT) != waiting[run.info.run_id]
            if is_silent := heartbeats.silent(run.info.run_id, run.data.tags.get(HEARTBEAT)):
                end_sweep(record.client, run)
            if beats or is_silent or run.info.status != RunStatus.RUNNING:
                del waiting[run.info.run_id]
        if waiting:
            time.sleep(LOOK_S)
