"""Drivers of two short trainings on digits that tests stop and kill, and what their record must hold in the end."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psutil
import torch

from analysis.record.mlflow_record import Record
from benchmarks.machine import sweep_command
from trainable.config import Config
from trainable.data import load
from trainable.training import Trainer

EPOCHS = 16
"""So many that the first checkpoint, after two seconds, comes before the last epoch."""
ARGUMENTS = ["--data", "digits", "--studies", "tables", "--only", "3", "--epochs", str(EPOCHS)]


def start(folder: Path, *more: str) -> subprocess.Popen:
    """A driver in a session of its own. What it prints goes to `log.txt` in its folder."""
    with (folder / "log.txt").open("a") as log:
        command = sweep_command(*ARGUMENTS, *more)
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def stopped_when(process: subprocess.Popen, true: Callable[[], bool]) -> bool:
    """Whether something is true. The driver is stopped while that is asked and goes on only where it is not, so that it
    can be killed before its next step, however long the answer takes."""
    os.kill(process.pid, signal.SIGSTOP)
    if true():
        return True
    os.kill(process.pid, signal.SIGCONT)
    return False


def kill_family(process: subprocess.Popen) -> None:
    """The driver and the Ray that it started, as a machine that loses power."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(timeout=30)


def checkpoints(folder: Path) -> dict[str, int]:
    """When each unfinished trial was last saved."""
    files = (folder / "sweep-storage").glob("*/trials/*/checkpoint.pt")
    return {file.parent.name: file.stat().st_mtime_ns for file in files}


def embedded(folder: Path) -> Record:
    """The record of the drivers that ran in a folder."""
    return Record(f"sqlite:///{folder}/mlflow.db", "ablations-digits")


def histories(record: Record) -> dict[str, list]:
    """Test errors by epoch of every complete trial."""
    return {trial.name: trial.histories["test_error"] for trial in record.histories() if trial.complete}


@cache
def undisturbed(epochs: int = EPOCHS) -> dict[str, list]:
    """Test errors by epoch as plain trainings of so many epochs have them, in this process."""
    torch.set_num_threads(1)  # as in a worker: sums of several threads round otherwise
    digits, base = load("digits"), Config(data="digits", epochs=epochs)
    errors = {}
    for name, config in (("baseline", base), ("loss-hinge", base.change(loss="hinge"))):
        trainer = Trainer(config, digits, (0,))
        errors[name] = [(epoch, trainer.run_epoch().metrics["test_error"][0]) for epoch in range(1, epochs + 1)]
    return errors
