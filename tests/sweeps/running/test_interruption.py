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
@pytest.mark.timeout(600)  # five drivers
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


CHOOSY = """
from torch import nn

class Choosy(nn.Sequential):
    def forward(self, images):
        if self.training and len(images) > 1000:
            raise ValueError("more than 1000 images")
        return super().forward(images)

def network():
    return Choosy(nn.Flatten(), nn.Linear(3072, 10))
"""
"""A network that a plan finds in order, and that cannot be trained with large batches."""
CHOOSY_STUDY = """
baseline: {network: choosy.py}
tables:
  - number: "40"
    title: Batches
    rows:
      - {name: small}
      - {name: large, change: {batch_size: 1400}}
"""
CHOOSY_SEARCH = """
baseline: {network: choosy.py}
search:
  space: {batch_size: {choices: [512, 1200]}}
  race: {candidates: 1, first_test: 2, seeds: 2}
"""


def sweep_of(study: str, folder: Path, *more: str) -> subprocess.CompletedProcess:
    (folder / "choosy.py").write_text(CHOOSY)
    (folder / "batches.yaml").write_text(study)
    command = sweep_command("--data", "digits", "--study", "batches.yaml", "--epochs", "1", *more)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)


@pytest.mark.reliability
def test_a_trial_that_cannot_run_fails_alone_with_its_reason(tmp_path: Path) -> None:
    done = sweep_of(CHOOSY_STUDY, tmp_path)
    assert done.returncode == 1
    assert "batches-large failed after 0 epochs: ValueError: more than 1000 images" in done.stderr
    assert "To go on, run the same command again" in done.stderr
    assert done.stderr.count("batches-large is tried again") == 1, "an error of the config is tried once more"
    recorded = {trial.name: trial for trial in trials(tmp_path)}
    assert recorded["batches-small"].complete
    assert recorded["batches-large"].status == "FAILED"
    assert "more than 1000 images" in recorded["batches-large"].tags["error"]
    (sweep,) = embedded(tmp_path).sweeps()
    assert (sweep.status, REPORTED in sweep.tags) == ("FAILED", True)


@pytest.mark.reliability
def test_a_search_goes_on_to_its_race_and_its_proof_without_a_trial_that_cannot_run(tmp_path: Path) -> None:
    done = sweep_of(CHOOSY_SEARCH, tmp_path, "--proof-seeds", "1")
    assert done.returncode == 1
    assert re.search(r"batches-00\d failed after 0 epochs: ValueError: more than 1000 images", done.stderr)
    assert "1 trial(s) failed" in done.stderr and "To go on, run the same command again" in done.stderr
    recorded = trials(tmp_path)
    (failed,) = (trial for trial in recorded if trial.status == "FAILED")
    assert failed.config.batch_size == 1200
    (winner,) = (trial for trial in recorded if "proven_seeds.batches" in trial.tags)
    assert winner.config.batch_size == 512
