"""The recorder never makes a trial wait, outlives an outage of the server, and says what it could not deliver."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from analysis.record.mlflow_record import Record
from benchmarks.clusters import wait_for
from sweeps.observer import TrialEnded, TrialReported, TrialStarted
from sweeps.recording.outage import patiently
from sweeps.recording.tracking import ensure_experiment
from tests.recorders import record_trial, report, spec, start_recorder
from tests.servers import Server
from trainable.errors import UsageError
from trainable.files import WEIGHTS
from trainable.storage import TrialStorage
from trainable.trial import TrialEnd

pytestmark = pytest.mark.usefixtures("made_record")


@pytest.fixture
def server(empty_record: Path, tmp_path: Path) -> Iterator[Server]:
    shutil.copy(empty_record, tmp_path / "server.db")
    server = Server(tmp_path, f"sqlite:///{tmp_path}/server.db")
    yield server
    server.kill()


@pytest.mark.parametrize("processes", [0, pytest.param(2, marks=pytest.mark.reliability)])
def test_an_outage_loses_nothing_and_blocks_nobody(processes: int, server: Server, tmp_path: Path) -> None:
    recorder = start_recorder(server.uri, processes)
    trial = spec(tmp_path, "baseline")
    storage = TrialStorage(str(tmp_path), trial.key, (0, 1))
    storage.write(WEIGHTS, b"weights")
    recorder.tell(TrialStarted("1", trial))
    recorder.tell(TrialReported("1", report(1)))
    assert recorder.flush()
    server.kill()
    start = time.monotonic()
    recorder.tell(TrialReported("1", report(1, 2)))  # with history, as after a resume
    recorder.tell(TrialEnded("1", TrialEnd.COMPLETE))
    assert time.monotonic() - start < 1, "a request that fails takes longer"
    assert not recorder.flush(patience_s=3)
    assert storage.read(WEIGHTS), "nothing is removed before the record has it"
    server.start()
    assert recorder.finish("FINISHED")
    assert storage.read(WEIGHTS) is None
    record = Record(server.uri, "test")
    (recorded,) = record.trials()
    assert recorded.complete and recorded.tags["data"] == "digits"
    assert {sweep.status for sweep in record.sweeps()} == {"FINISHED"}
    histories = record.with_histories([recorded])[0].histories
    assert histories["test_error"] == [(1, pytest.approx(0.3)), (2, pytest.approx(0.3))]
    assert histories["per_seed/train_error_1"] == [(1, 0.3), (2, 0.15)]


@pytest.mark.reliability
def test_who_needs_an_answer_waits_for_a_server_that_comes_back(server: Server) -> None:
    server.kill()
    coming_back = threading.Timer(8.0, server.start)  # MLflow's client itself gives up after four
    coming_back.start()
    assert patiently(lambda: MlflowClient(server.uri).search_experiments(filter_string="name = 'none'")) == []
    coming_back.join()
    with pytest.raises(MlflowException, match="No Experiment"):
        patiently(lambda: MlflowClient(server.uri).get_experiment("17"))


def test_artifacts_in_a_folder_of_another_machine_are_refused(server: Server) -> None:
    client = MlflowClient(server.uri)
    client.create_experiment("test", "/home/another/mlruns/1")
    _, experiment_id = ensure_experiment(server.uri, "test")
    client.create_run(experiment_id)
    with pytest.raises(UsageError, match="the artifacts of test are in /home/another/mlruns/1, which is not on this"):
        ensure_experiment(server.uri, "test")


def test_a_write_that_is_refused_is_counted_and_does_not_block_the_rest(tmp_path: Path) -> None:
    recorder = start_recorder(f"sqlite:///{tmp_path}/mlflow.db")
    recorder.act(lambda client: client.log_metric(recorder.run_id, "bad*name", 1.0))
    recorder.act(lambda client: client.log_metric(recorder.run_id, "good", 1.0))
    assert not recorder.finish("FINISHED")
    assert recorder.refused == 1
    run = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(recorder.run_id)
    assert run.data.metrics == {"good": 1.0}
    assert run.info.status == "FAILED", "what lacks a part of its record did not finish"


def test_a_trial_whose_files_may_not_be_read_does_not_block_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No repetition would read them."""
    recorder, has = start_recorder(f"sqlite:///{tmp_path}/mlflow.db"), TrialStorage._has
    locked, other = (spec(tmp_path, name) for name in ("locked", "other"))
    other = other.model_copy(update={"key": "0" * 12})

    def denied(storage: TrialStorage, name: str) -> bool:
        if locked.key in storage._folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return has(storage, name)

    monkeypatch.setattr(TrialStorage, "_has", denied)
    for trial in (locked, other):
        TrialStorage(str(tmp_path), trial.key, trial.seeds).write(WEIGHTS, b"weights")
        recorder.tell(TrialStarted(trial.name, trial))
        recorder.tell(TrialReported(trial.name, report(1, 2)))
        recorder.tell(TrialEnded(trial.name, TrialEnd.COMPLETE))
    assert not recorder.finish("FINISHED")
    complete = [each.name for each in Record(f"sqlite:///{tmp_path}/mlflow.db", "test").trials() if each.complete]
    assert complete == ["other"]
    assert "cannot be read: Permission denied" in caplog.text and "Traceback" not in caplog.text


def test_the_reason_of_a_refusal_outlives_a_later_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.recording.writer.RETRY_S", 0.01)
    recorder, tries = start_recorder(f"sqlite:///{tmp_path}/mlflow.db"), []

    def fail_once(*_: object) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("the server is away")

    recorder.act(lambda client: client.log_metric(recorder.run_id, "bad*name", 1.0))
    recorder.act(fail_once)
    assert not recorder.finish("FINISHED")
    assert "bad*name" in recorder.problem and len(tries) == 2


def test_the_end_of_a_sweep_leaves_what_another_trains_of_the_same_key(tmp_path: Path) -> None:
    """What this sweep has recorded, another may train again for its predictions."""
    recorder = start_recorder(f"sqlite:///{tmp_path}/mlflow.db")
    storage = record_trial(recorder, tmp_path, report(1, 2))
    assert recorder.flush()
    assert storage.read(WEIGHTS) is None
    storage.write(WEIGHTS, b"another sweep's")
    assert recorder.finish("FINISHED"), recorder.problem
    assert storage.read(WEIGHTS) == b"another sweep's"


@pytest.mark.reliability
def test_two_processes_write_one_record(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    recorder = start_recorder(uri, processes=2)
    of_process = [[name for name in map(str, range(100)) if zlib.crc32(name.encode()) % 2 == each] for each in (0, 1)]
    names = list(zip(*of_process, strict=False))[:20]
    for data in range(20):  # in each round both start with data that the record does not know yet
        assert recorder.flush()
        for name in names[data]:
            trial = spec(tmp_path, name).model_copy(update={"fingerprint": str(data)})
            recorder.tell(TrialStarted(name, trial))
            recorder.tell(TrialReported(name, report(1)))
            recorder.tell(TrialEnded(name, TrialEnd.STOPPED))
    assert recorder.finish("FINISHED"), recorder.problem
    trials = Record(uri, "test").trials()
    assert {trial.name for trial in trials} == {name for pair in names for name in pair}
    assert {trial.status for trial in trials} == {"FINISHED"}


def test_a_recorder_process_that_dies_is_said_and_loses_nothing(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    recorder = start_recorder(uri, processes=1)
    trial = spec(tmp_path, "baseline")
    storage = TrialStorage(str(tmp_path), trial.key, (0, 1))
    storage.write(WEIGHTS, b"weights")
    recorder.tell(TrialStarted("1", trial))
    assert recorder.flush()
    processes = [each for each in psutil.Process().children() if "recorder_process" in " ".join(each.cmdline())]
    assert len(processes) == 1
    processes[0].kill()
    recorder.tell(TrialReported("1", report(1, 2)))
    recorder.tell(TrialEnded("1", TrialEnd.COMPLETE))
    assert not recorder.flush()
    assert not recorder.finish("FINISHED")
    assert recorder.problem == "a process of the recorder ended with code -9"
    assert storage.read(WEIGHTS), "the next sweep can still record it"


DRIVER = """
import sys, time
from tests.recorders import start_recorder
recorder = start_recorder(sys.argv[1], processes=1)
assert recorder.flush()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.reliability
def test_a_recorder_process_ends_with_its_driver_and_not_with_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, f"sqlite:///{tmp_path}/mlflow.db"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert driver.stdout and driver.stdout.readline() == "ready\n"
    (process,) = psutil.Process(driver.pid).children()
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as to a whole process group
        process.send_signal(signal_number)
    time.sleep(0.5)
    assert process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    driver.kill()
    driver.wait()
    wait_for("the end of the recorder's process", lambda: not process.is_running(), 10)
