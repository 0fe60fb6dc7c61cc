"""Which process drives a sweep, and what is put in order after one that was killed."""

import os
import platform
import time
from functools import cache
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from analysis.record.mlflow_record import Record, all_runs
from analysis.record.recorded import ROLE, Role, RunStatus
from sweeps.stages import remove_stages

DRIVER = "driver"
"""Tag of every run: the machine and the process that wrote it."""
TAKEN_OVER = "taken_over"
"""Tag of a sweep that another one took for dead: the driver of the other."""
CLOCK_MS = 60_000
"""The clock may have been set by so much since a run started."""
MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def this_driver() -> str:
    """The value of the `DRIVER` tag: this process."""
    return f"{_this_machine()}:{os.getpid()}"


@cache
def _this_machine() -> str:
    """What tells where a process number means this process: the host's name and, because containers and machines may
    share one, the machine's id and the container's space of process numbers."""
    machine = next((file.read_text().strip() for file in MACHINE_IDS if file.is_file()), "")
    return f"{platform.node()}/{machine[:8]}/{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"


def end_abandoned(record: Record, storage_path: str) -> None:
    """End the runs that a killed driver of this machine left as running, so that the UI does not show them so, and
    delete what Ray Tune wrote for them."""
    for run in record.running():
        if lost_driver(run):
            if run.data.tags.get(ROLE) == Role.SWEEP:
                remove_stages(storage_path, run.info.run_id)
            record.client.set_terminated(run.info.run_id, RunStatus.KILLED)


def lost_driver(run: Run) -> bool:
    """Whether a run's driver was a process of this machine, and is gone: there is no process of its number, or one that
    is younger than the run, as in a container that was started again."""
    if not drives_here(run):
        return False
    pid = int(run.data.tags[DRIVER].rpartition(":")[2])
    try:
        os.kill(pid, 0)
        return _start_ms(pid) > run.info.start_time + CLOCK_MS
    except (ProcessLookupError, FileNotFoundError):
        return True
    except PermissionError:  # that of another user, which /proc may hide
        return False


def _start_ms(pid: int) -> float:
    """When a process of this machine started, in milliseconds since 1970. The kernel counts from its own start, which
    containers do not show (`man 5 proc`, starttime)."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return 1000 * (time.time() - age_s)


def drives_here(run: Run) -> bool:
    """Whether a run's driver is, or was, a process of this machine."""
    known = (_this_machine(), platform.node())  # the latter is all that earlier versions wrote
    return run.data.tags.get(DRIVER, "").rpartition(":")[0] in known


def driver_machine(run: Run) -> str:
    """The name of the machine that a run's driver runs on, or ran on."""
    return run.data.tags.get(DRIVER, "?").partition("/")[0].partition(":")[0]


def end_sweep(client: MlflowClient, sweep: Run) -> None:
    """End a sweep whose driver is gone, and those of its trials that have not ended. A tag tells the driver, should it
    live all the same: see `beating`."""
    client.set_tag(sweep.info.run_id, TAKEN_OVER, this_driver())
    left = f"tags.{MLFLOW_PARENT_RUN_ID} = '{sweep.info.run_id}' and attributes.status = 'RUNNING'"
    for run in [*all_runs(client, sweep.info.experiment_id, left), sweep]:
        client.set_terminated(run.info.run_id, RunStatus.KILLED)
