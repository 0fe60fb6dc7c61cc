"""Drivers stopped and killed, actors killed: no finished work is lost or done twice."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from analysis.record import Record, TrialRecord
from tests.conftest import sweep_command

EPOCHS = 40
ARGUMENTS = ["--data", "digits", "--studies", "tables", "--only", "3", "--epochs", str(EPOCHS)]


def start(folder: Path) -> subprocess.Popen:
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(sweep_command(*ARGUMENTS), cwd=folder, stdout=log, stderr=log, start_new_session=True)


def wait_for(condition: Callable[[], bool], timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.3)


def trials(folder: Path) -> list[TrialRecord]:
    return Record(f"sqlite:///{folder}/mlflow.db", "ablations-digits").trials()


def has_checkpoint(folder: Path) -> bool:
    return any((folder / "sweep-storage" / "trials").glob("*/checkpoint.pt"))


def histories(folder: Path) -> dict[str, list]:
    """Test errors by epoch of every complete trial."""
    record = Record(f"sqlite:///{folder}/mlflow.db", "ablations-digits")
    return {t.name: record.with_histories(t).metrics["test_error"] for t in record.trials() if t.complete}


def kill_family(process: subprocess.Popen) -> None:
    """The driver and the Ray that it started, as a machine that loses power."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(timeout=30)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(folder).wait(timeout=240) == 0, (folder / "log.txt").read_text()
    return histories(folder)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_sweep_goes_on(how: signal.Signals, tmp_path: Path, undisturbed: dict[str, list]) -> None:
    process = start(tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    if how is signal.SIGKILL:
        kill_family(process)
    else:
        os.kill(process.pid, how)
        assert process.wait(timeout=60) == 130
        log = (tmp_path / "log.txt").read_text()
        assert "To go on, run the same command again" in log
        assert {trial.status for trial in trials(tmp_path)} <= {"KILLED", "FINISHED"}
    assert has_checkpoint(tmp_path)
    assert start(tmp_path).wait(timeout=240) == 0, (tmp_path / "log.txt").read_text()
    assert histories(tmp_path) == undisturbed
    complete = [trial for trial in trials(tmp_path) if trial.complete]
    assert sorted(trial.name for trial in complete) == ["baseline", "loss-hinge"]


def test_a_killed_actor_is_replaced_and_its_trial_goes_on(tmp_path: Path, undisturbed: dict[str, list]) -> None:
    process = start(tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    family = psutil.Process(process.pid).children(recursive=True)
    actors = [member for member in family if "TuneTrainable" in " ".join(member.cmdline())]
    assert actors
    actors[0].kill()
    assert process.wait(timeout=240) == 0, (tmp_path / "log.txt").read_text()
    assert histories(tmp_path) == undisturbed
    assert len(trials(tmp_path)) == 2, "the trial went on in its own run"
