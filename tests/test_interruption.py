"""Drivers stopped and killed, actors killed: no finished work is lost or done twice."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import subprocess
import termios
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from analysis.record.recorded import EPOCH_S, REPORTED, TrialRecord
from benchmarks.clusters import wait_for
from benchmarks.machine import sweep_command
from sweeps.recording.note import NOTE
from tests.conftest import Command
from tests.drivers import (
    ARGUMENTS,
    EPOCHS,
    checkpoints,
    embedded,
    histories,
    kill_family,
    start,
    stopped_when,
    undisturbed,
)

pytestmark = pytest.mark.usefixtures("made_record")

NOTE_OF_STOPPED = f"Tables 3 (Loss): 1 seeds, {EPOCHS} epochs on digits.\n\nIt has not ended."


def trials(folder: Path) -> list[TrialRecord]:
    return embedded(folder).trials()


def test_a_sweep_killed_while_it_trains_and_before_it_reports_goes_on(here: Command, tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for("two checkpoints", lambda: len(checkpoints(tmp_path)) == 2, 120)
    wait_for(
        "their first epochs in the record", lambda: sum(EPOCH_S in trial.metrics for trial in trials(tmp_path)) == 2, 60
    )
    kill_family(process)
    process = start(tmp_path)
    both_complete = partial(stopped_when, process, lambda: sum(trial.complete for trial in trials(tmp_path)) == 2)
    wait_for("both trials", both_complete, 120)
    kill_family(process)
    record = embedded(tmp_path)
    assert not any(REPORTED in sweep.tags for sweep in record.sweeps())
    again = here(*ARGUMENTS)
    assert (again.returncode, "Nothing to do" in again.stderr) == (0, True), again.stderr
    assert histories(embedded(tmp_path)) == undisturbed()
    first_epoch_s = [(trial.key, trial.histories[EPOCH_S][0]) for trial in record.histories()]
    assert len(first_epoch_s) == 4 and len(set(first_epoch_s)) == 2, "what was trained before is not trained again"
    assert not list((tmp_path / "sweep-storage" / "tune").iterdir()), "nothing is left of the killed drivers' Tune"
    (sweep,) = [sweep for sweep in record.sweeps() if REPORTED in sweep.tags]
    assert "report/index.html" in {file.path for file in record.client.list_artifacts(sweep.run_id, "report")}
    assert {sweep.status for sweep in record.sweeps()} == {"KILLED"}
    notes = [record.client.get_run(sweep.run_id).data.tags[NOTE] for sweep in record.sweeps()]
    assert [NOTE_OF_STOPPED in note for note in notes] == [True, False]


@pytest.mark.reliability
def test_a_sweep_goes_on_however_it_was_stopped(tmp_path: Path) -> None:
    epochs = 4 * EPOCHS  # each of the four stops takes seconds of training
    longer = "--epochs", str(epochs)
    for how in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
        before = checkpoints(tmp_path)
        process = start(tmp_path, *longer)
        wait_for("a new checkpoint", lambda before=before: checkpoints(tmp_path) != before, 120)
        if how is signal.SIGKILL:
            kill_family(process)
        else:
            for _ in range(2):  # a supervisor that loses patience
                os.kill(process.pid, how)
                time.sleep(0.5)
            assert process.wait(timeout=60) == 130
            assert {trial.status for trial in trials(tmp_path)} == {"KILLED"}
        assert checkpoints(tmp_path)
    log = (tmp_path / "log.txt").read_text()
    assert log.count("To go on, run the same command again") == 3
    damaged = next((tmp_path / "sweep-storage").glob("*/trials/*/checkpoint.pt"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert start(tmp_path, *longer).wait(timeout=240) == 0, (tmp_path / "log.txt").read_text()
    assert f"{damaged} does not match its SHA-256" in (tmp_path / "log.txt").read_text()
    assert histories(embedded(tmp_path)) == undisturbed(epochs)
    assert sorted(trial.name for trial in trials(tmp_path) if trial.complete) == ["baseline", "loss-hinge"]
    assert "RUNNING" not in {trial.status for trial in trials(tmp_path)}


@pytest.mark.reliability
def test_a_sweep_whose_terminal_is_closed_finishes_its_record(tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        sweep_command(*ARGUMENTS), cwd=tmp_path, stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(inside)
    os.set_blocking(terminal, False)

    def checkpoint() -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 1 << 20)  # else the driver would wait until somebody reads what it prints
        return bool(checkpoints(tmp_path))

    wait_for("a checkpoint", checkpoint, 120)
    os.close(terminal)
    assert process.wait(timeout=60) == 130
    assert {run.status for run in (*trials(tmp_path), *embedded(tmp_path).sweeps())} == {"KILLED"}


@pytest.mark.reliability
def test_a_killed_actor_is_replaced_and_its_trial_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for("a checkpoint", lambda: checkpoints(tmp_path), 120)
    family = psutil.Process(process.pid).children(recursive=True)
    actors = [member for member in family if "Trainable" in " ".join(member.cmdline())]
    assert actors
    actors[0].kill()
    assert process.wait(timeout=240) == 0, (tmp_path / "log.txt").read_text()
    assert histories(embedded(tmp_path)) == undisturbed()
    assert len(trials(tmp_path)) == 2, "the trial went on in its own run"


BAD_BATCHES = """
search:
  fixed: {batch_norm: true}
  space: {batch_size: {choices: [512, 1294]}}
  race: {candidates: 1, first_test: 2, seeds: 2}
"""
"""A search has 1,295 train images of the digits: batches of 1,294 leave one over, of which batch norm cannot train."""


@pytest.mark.reliability
def test_a_trial_that_cannot_run_fails_alone_with_its_reason(tmp_path: Path) -> None:
    """Digits have 1,438 train images: batches of 1,437 leave one image over, of which batch norm cannot train."""
    arguments = ["--data", "digits", "--studies", "tables", "--only", "7", "--epochs", "1", "--set", "batch_size=1437"]
    done = subprocess.run(sweep_command(*arguments), cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert "batch-norm-yes failed after 0 epochs: ValueError: Expected more than 1 value per channel" in done.stderr
    assert "To go on, run the same command again" in done.stderr
    assert done.stderr.count("batch-norm-yes goes on") == 1, "an error of the config is tried once more"
    recorded = {trial.name: trial for trial in trials(tmp_path)}
    assert recorded["baseline"].complete
    assert recorded["batch-norm-yes"].status == "FAILED"
    assert "Expected more than 1 value per channel" in recorded["batch-norm-yes"].tags["error"]
    (sweep,) = embedded(tmp_path).sweeps()
    assert (sweep.status, REPORTED in sweep.tags) == ("FAILED", True)


@pytest.mark.reliability
def test_a_search_goes_on_to_its_race_and_its_proof_without_a_trial_that_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "batches.yaml").write_text(BAD_BATCHES)
    arguments = ["--data", "digits", "--study", "batches.yaml", "--epochs", "1", "--proof-seeds", "1"]
    done = subprocess.run(sweep_command(*arguments), cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert re.search(r"batches-00\d failed after 0 epochs: ValueError: Expected more than 1 value per", done.stderr)
    assert "1 trial(s) failed" in done.stderr and "To go on, run the same command again" in done.stderr
    recorded = trials(tmp_path)
    (failed,) = (trial for trial in recorded if trial.status == "FAILED")
    assert failed.config.batch_size == 1294
    (winner,) = (trial for trial in recorded if "proven_seeds.batches" in trial.tags)
    assert winner.config.batch_size == 512
