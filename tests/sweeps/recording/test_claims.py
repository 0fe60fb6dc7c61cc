"""Several sweeps on one record share its work: nothing is done twice, and what a dead sweep held is free."""

import platform
import random
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from rich.console import Console

from analysis.record import heartbeats, mlflow_record
from analysis.record.mlflow_record import Record
from analysis.record.recorded import REPORTED
from benchmarks.clusters import wait_for
from benchmarks.machine import sweep_command
from sweeps.errors import SweepError
from sweeps.recording import heartbeats as writing
from sweeps.recording.claims import Claimant, claiming
from sweeps.recording.drivers import DRIVER, end_sweep, lost_driver, this_driver
from sweeps.recording.heartbeats import beating
from sweeps.recording.recorder import log_tables
from sweeps.recording.tracking import ensure_experiment
from sweeps.running import complete_sweep
from sweeps.running.complete_sweep import end_complete_sweep
from sweeps.stages import stage_name
from tests.analysis_records import table
from tests.drivers import checkpoints, kill_family
from tests.options import options
from trainable.config import Config
from trainable.data import load

pytestmark = pytest.mark.usefixtures("made_record")


def sweep_run(client: MlflowClient, experiment_id: str, driver: str) -> str:
    tags = {"role": "sweep", DRIVER: driver}
    return client.create_run(experiment_id, tags=tags, run_name="sweep").info.run_id


def test_of_all_that_claim_a_training_at_the_same_time_one_gets_it(tmp_path: Path) -> None:
    client, experiment_id = ensure_experiment(f"sqlite:///{tmp_path}/mlflow.db", "e")
    claimants = [
        Claimant(client, experiment_id, sweep_run(client, experiment_id, this_driver()), str(tmp_path))
        for _ in range(4)
    ]
    names, taken = [f"key/{seed}" for seed in range(12)], dict[int, set[str]]()
    together = threading.Barrier(len(claimants), timeout=60)

    def claim(number: int) -> None:
        shuffled = random.Random(number).sample(names, len(names))
        for asked in (shuffled[:6], shuffled):
            together.wait()
            taken[number] = set(claimants[number].take(asked)) | taken.get(number, set())

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(len(claimants))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for held in taken.values() for name in held) == sorted(names)
    (holder,) = [number for number, held in taken.items() if "key/0" in held]
    another = claimants[holder - 1]
    assert [other.run.info.run_id for other in another.holders(["key/0"])] == [claimants[holder]._run_id]
    claimants[holder].release(["key/0"])
    assert another.take(["key/0"]) == {"key/0"}, "it was given up"
    client.set_terminated(another._run_id)
    assert claimants[holder].take(["key/0"]) == {"key/0"}, "a claim ends with its sweep"


def test_the_claims_of_a_driver_that_is_gone_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, experiment_id = ensure_experiment(f"sqlite:///{tmp_path}/mlflow.db", "e")
    mine = Claimant(client, experiment_id, sweep_run(client, experiment_id, this_driver()), str(tmp_path))
    process = subprocess.Popen(["true"])
    process.wait()
    here = sweep_run(client, experiment_id, f"{this_driver().rpartition(':')[0]}:{process.pid}")
    elsewhere = sweep_run(client, experiment_id, f"{platform.node()}/another/4026531836:{process.pid}")
    of_the_dead = tmp_path / "tune" / stage_name("sweep", "search", here)
    of_the_dead.mkdir(parents=True)
    Claimant(client, experiment_id, here, str(tmp_path)).take(["a"])
    client.set_tag(elsewhere, heartbeats.HEARTBEAT, "1")
    Claimant(client, experiment_id, elsewhere, str(tmp_path)).take(["b"])
    clock = [0.0]
    monkeypatch.setattr(heartbeats, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=time.sleep))
    assert mine.take(["a", "b"]) == {"a"}
    clock[0] += 0.75 * heartbeats.SILENT_S
    client.set_tag(elsewhere, heartbeats.HEARTBEAT, "2")
    assert mine.take(["a", "b"]) == {"a"}
    clock[0] += 0.75 * heartbeats.SILENT_S
    assert mine.take(["a", "b"]) == {"a"}, "its heart has beaten since"
    clock[0] += 0.5 * heartbeats.SILENT_S
    assert mine.take(["a", "b"]) == {"a", "b"}
    mute = sweep_run(client, experiment_id, f"{platform.node()}/another/4026531836:{process.pid}")
    Claimant(client, experiment_id, mute, str(tmp_path)).take(["c"])
    assert mine.take(["c"]) == set()
    clock[0] += 1.1 * heartbeats.SILENT_S
    assert mine.take(["c"]) == {"c"}, "it died before its heart beat once"
    assert {client.get_run(run_id).info.status for run_id in (here, elsewhere)} == {"KILLED"}
    assert not of_the_dead.exists(), "what Ray Tune wrote for it"
    with pytest.raises(SweepError, match="another sweep took this one for dead"):
        Claimant(client, experiment_id, elsewhere, str(tmp_path)).take(["d"])


def test_all_trials_of_a_sweep_that_is_gone_are_ended_however_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is asked for them page by page, and those that have ended are no longer found."""
    monkeypatch.setattr(mlflow_record, "PAGE", 2)
    client, experiment_id = ensure_experiment(f"sqlite:///{tmp_path}/mlflow.db", "e")
    sweep = sweep_run(client, experiment_id, "elsewhere:1")
    tags = {MLFLOW_PARENT_RUN_ID: sweep}
    trials = [client.create_run(experiment_id, tags=tags).info.run_id for _ in range(7)]
    end_sweep(client, client.get_run(sweep))
    assert {client.get_run(run_id).info.status for run_id in (sweep, *trials)} == {"KILLED"}


def test_a_process_that_is_younger_than_the_run_is_not_its_driver(tmp_path: Path) -> None:
    """In a container that was started again, the driver has the number of the one before."""
    client, experiment_id = ensure_experiment(f"sqlite:///{tmp_path}/mlflow.db", "e")
    now, tags = time.time() * 1000, {DRIVER: this_driver()}
    started = [now, now - 1000 * (time.clock_gettime(time.CLOCK_BOOTTIME) + 3600)]
    runs = [client.create_run(experiment_id, int(start), tags) for start in started]
    assert [lost_driver(run) for run in runs] == [False, True]


def test_the_heart_of_a_sweep_beats_while_it_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, experiment_id = ensure_experiment(f"sqlite:///{tmp_path}/mlflow.db", "e")
    run_id = sweep_run(client, experiment_id, this_driver())

    def beats() -> int:
        return int(client.get_run(run_id).data.tags.get(heartbeats.HEARTBEAT, 0))

    monkeypatch.setattr(writing, "BEAT_S", 0.05)
    taken_over = threading.Event()
    with claiming(client, experiment_id, run_id, str(tmp_path), taken_over.set):
        wait_for("three beats", lambda: beats() > 2, 30)
    last = beats()
    time.sleep(0.5)
    assert beats() == last, "it ends with the sweep"
    assert not taken_over.is_set()


def test_a_sweep_that_was_taken_for_dead_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, experiment_id = ensure_experiment(f"sqlite:///{tmp_path}/mlflow.db", "e")
    run_id = sweep_run(client, experiment_id, this_driver())
    monkeypatch.setattr(writing, "BEAT_S", 0.05)
    taken_over = threading.Event()
    with beating(client, run_id, taken_over.set):
        assert not taken_over.wait(0.5)
        end_sweep(client, client.get_run(run_id))
        assert taken_over.wait(30)


def test_a_sweep_that_died_elsewhere_is_ended_and_gets_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to train, so that nobody claims anything."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client, experiment_id = ensure_experiment(uri, "e")
    run_id = sweep_run(client, experiment_id, "a-pod/another/4026531836:1")
    log_tables(client, run_id, [table("digits")])
    monkeypatch.setattr(writing, "BEAT_S", 0.05)
    monkeypatch.setattr(heartbeats, "SILENT_S", 1.0)
    monkeypatch.setattr(complete_sweep, "LOOK_S", 0.1)

    def end() -> tuple[str, bool]:
        said = options(tracking_uri=uri, experiment="e", storage_path=str(tmp_path))
        assert end_complete_sweep(said, Record(uri, "e"), Console(quiet=True))
        run = client.get_run(run_id)
        return run.info.status, REPORTED in run.data.tags

    with beating(client, run_id, lambda: None):
        assert end() == ("RUNNING", False), "it lives"
    assert end() == ("KILLED", True)


ARGUMENTS = ["--data", "digits", "--studies", "tables", "--only", "3", "--seeds", "2"]


def start(folder: Path, name: str, epochs: int) -> subprocess.Popen:
    command = sweep_command(*ARGUMENTS, "--epochs", str(epochs), "--name", name)
    with (folder / f"{name}.txt").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.reliability
def test_a_sweep_trains_what_nobody_claims_and_waits_for_the_rest(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client, experiment_id = ensure_experiment(uri, "ablations-digits")
    hinge = Config(data="digits", epochs=1, loss="hinge").key(load("digits").fingerprint)
    other = Claimant(client, experiment_id, sweep_run(client, experiment_id, this_driver()), str(tmp_path))
    other.take([f"{hinge}/0"])
    record = Record(uri, "ablations-digits")

    def complete() -> list[tuple[str, int]]:
        return sorted((trial.name, *trial.seeds) for trial in record.trials() if trial.complete)

    process = start(tmp_path, "here", epochs=1)
    wait_for("it to wait", lambda: "waiting for the sweep sweep on" in (tmp_path / "here.txt").read_text(), 120)
    assert complete() == [("baseline", 0), ("baseline", 1), ("loss-hinge", 1)]
    other.release([f"{hinge}/0"])
    assert process.wait(timeout=120) == 0, (tmp_path / "here.txt").read_text()
    assert complete() == [("baseline", 0), ("baseline", 1), ("loss-hinge", 0), ("loss-hinge", 1)]


@pytest.mark.reliability
def test_a_sweep_whose_work_another_one_has_taken_over_stops(tmp_path: Path) -> None:
    process = start(tmp_path, "asleep", 40)
    wait_for("a checkpoint", lambda: any(checkpoints(tmp_path)), 120)
    record = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits")
    (sweep,) = record.sweeps()
    end_sweep(record.client, record.client.get_run(sweep.run_id))
    assert process.wait(timeout=60) == 130
    assert (
        "another sweep took this one for dead and does its work: this one stops"
        in (tmp_path / "asleep.txt").read_text()
    )
    assert not record.running()


@pytest.mark.reliability
def test_two_sweeps_at_once_train_nothing_twice_and_one_goes_on_where_the_other_dies(tmp_path: Path) -> None:
    first = start(tmp_path, "first", 40)
    wait_for("a checkpoint", lambda: any(checkpoints(tmp_path)), 120)
    second = start(tmp_path, "second", 40)
    wait_for("the second to wait", lambda: "waiting for the sweep first" in (tmp_path / "second.txt").read_text(), 120)
    kill_family(first)
    assert second.wait(timeout=240) == 0, (tmp_path / "second.txt").read_text()
    record = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits")
    complete = sorted((trial.name, *trial.seeds) for trial in record.trials() if trial.complete)
    assert complete == [("baseline", 0), ("baseline", 1), ("loss-hinge", 0), ("loss-hinge", 1)]
    assert {sweep.name: sweep.status for sweep in record.sweeps()} == {"first": "KILLED", "second": "FINISHED"}
    assert not record.running()
