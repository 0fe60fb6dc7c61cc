"""The recorder never makes a trial wait, outlives an outage of the server, and says what it could not deliver."""

import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import requests
from mlflow import MlflowClient

from analysis.record.mlflow_record import Record
from analysis.record.recorded import RunStatus
from benchmarks.clusters import wait_for
from sweeps.fault import Fault
from sweeps.observer import TrialEnded, TrialReported, TrialStarted
from sweeps.recording.recorder import Recorder, log_tables
from sweeps.recording.tracking import ensure_experiment
from sweeps.recording.trial_runs import summarise
from tests.analysis_records import table
from tests.servers import Server
from tests.specs import trial_spec
from trainable.config import Config
from trainable.files import WEIGHTS
from trainable.storage import CHECKPOINT, TrialStorage
from trainable.trial import Epoch, TrialEnd, TrialReport, TrialSpec

pytestmark = pytest.mark.usefixtures("made_record")


@pytest.fixture
def server(empty_record: Path, tmp_path: Path) -> Iterator[Server]:
    shutil.copy(empty_record, tmp_path / "server.db")
    server = Server(tmp_path, f"sqlite:///{tmp_path}/server.db")
    yield server
    server.kill()


def start_recorder(uri: str, processes: int = 0) -> Recorder:
    client, experiment = ensure_experiment(uri, "test")
    tags, params = {"data": "digits"}, {"epochs": 2}
    return Recorder(client, experiment, name="sweep", tags=tags, params=params, processes=processes)


def spec(storage: Path, name: str) -> TrialSpec:
    config = Config(data="digits", epochs=2)
    return trial_spec(config, storage, key=config.key(name), name=name, seeds=(0, 1), tags={"study": "tables"})


def epoch(number: int) -> Epoch:
    metrics = {"train_loss": [1.0, 2.0], "train_error": [0.5, 0.3 / number], "test_error": [0.4, 0.2]}
    return Epoch(number, 0.5, metrics)


def report(*numbers: int) -> TrialReport:
    return TrialReport(epochs=tuple(map(epoch, numbers)), done=2 in numbers)


def record_trial(recorder: Recorder, folder: Path, reported: TrialReport) -> TrialStorage:
    """Record a trial from its start to its end, with weights in the storage that is returned."""
    trial = spec(folder, "baseline")
    storage = TrialStorage(str(folder), trial.key, (0, 1))
    storage.write(WEIGHTS, b"weights")
    recorder.tell(TrialStarted("1", trial))
    recorder.tell(TrialReported("1", reported))
    recorder.tell(TrialEnded("1", TrialEnd.COMPLETE))
    return storage


@pytest.mark.parametrize("processes", [0, 2])
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


def test_a_write_that_is_refused_is_counted_and_does_not_block_the_rest(tmp_path: Path) -> None:
    recorder = start_recorder(f"sqlite:///{tmp_path}/mlflow.db")
    recorder.act(lambda client: client.log_metric(recorder.run_id, "bad*name", 1.0))
    recorder.act(lambda client: client.log_metric(recorder.run_id, "good", 1.0))
    assert not recorder.finish("FINISHED")
    assert recorder.refused == 1
    run = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(recorder.run_id)
    assert run.data.metrics == {"good": 1.0}
    assert run.info.status == "FAILED", "what lacks a part of its record did not finish"


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


def test_reports_that_pile_up_are_written_together(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    _, experiment = ensure_experiment(uri, "test")
    batches, free = list[int](), threading.Event()

    class Slow(MlflowClient):
        def log_batch(self, *args: Any, **kwargs: Any) -> None:
            super().log_batch(*args, **kwargs)
            batches.append(len(kwargs.get("metrics", ())))

    recorder = Recorder(Slow(uri), experiment, name="sweep", tags={}, params={})
    recorder.act(lambda client: free.wait())
    trial = spec(tmp_path, "baseline").model_copy(update={"config": Config(data="digits", epochs=5)})
    recorder.tell(TrialStarted("1", trial))
    for number in range(1, 5):
        recorder.tell(TrialReported("1", report(number)))
    free.set()
    assert recorder.flush()
    recorder.tell(TrialReported("1", report(5)))
    recorder.tell(TrialEnded("1", TrialEnd.STOPPED))
    assert recorder.finish("FINISHED")
    assert [size for size in batches if size] == [40, 10, 4]
    (recorded,) = (record := Record(uri, "test")).trials()
    history = record.with_histories([recorded])[0].histories["per_seed/train_error_1"]
    assert history == [(number, 0.3 / number) for number in range(1, 6)]


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
from tests.test_recorder import start_recorder
recorder = start_recorder(sys.argv[1], processes=1)
assert recorder.flush()
print("ready", flush=True)
time.sleep(600)
"""


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


class Lossy(MlflowClient):
    """Writes, and then loses the answer of each first write of a kind: what follows is a repetition."""

    lost: ClassVar[set[str]] = set()

    def _lose(self, kind: str) -> None:
        if kind not in self.lost:
            self.lost.add(kind)
            raise requests.ConnectionError("the answer is lost")

    def log_batch(self, *args: Any, **kwargs: Any) -> None:
        super().log_batch(*args, **kwargs)
        if kwargs.get("metrics"):
            self._lose("metrics")

    def set_terminated(self, *args: Any, **kwargs: Any) -> None:
        super().set_terminated(*args, **kwargs)
        self._lose("end")


def test_a_write_whose_answer_is_lost_is_not_doubled(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    _, experiment = ensure_experiment(uri, "test")
    recorder = Recorder(Lossy(uri), experiment, name="sweep", tags={}, params={}, tables=())
    trial = spec(tmp_path, "baseline")
    storage = TrialStorage(str(tmp_path), trial.key, (0, 1))
    storage.write(WEIGHTS, b"weights")
    recorder.tell(TrialStarted("1", trial))
    recorder.tell(TrialReported("1", report(1)))
    recorder.tell(TrialReported("1", report(1, 2)))
    recorder.tell(TrialEnded("1", TrialEnd.COMPLETE))
    assert recorder.finish("FINISHED")
    assert Lossy.lost == {"metrics", "end"}
    record = Record(uri, "test")
    (recorded,) = record.trials()
    assert recorded.complete and recorded.has(WEIGHTS)
    history = record.client.get_metric_history(recorded.run_id, "per_seed/test_error_1")
    assert [(point.step, point.value) for point in history] == [(1, 0.2), (2, 0.2)]
    assert storage.read(WEIGHTS) is None


def test_a_trial_whose_weights_are_elsewhere_is_not_complete(tmp_path: Path) -> None:
    recorder = start_recorder(f"sqlite:///{tmp_path}/mlflow.db")
    recorder.tell(TrialStarted("1", spec(tmp_path, "baseline")))
    recorder.tell(TrialReported("1", report(1, 2)))
    recorder.tell(TrialEnded("1", TrialEnd.COMPLETE))
    assert not recorder.finish("FINISHED")
    (recorded,) = Record(f"sqlite:///{tmp_path}/mlflow.db", "test").trials()
    assert not recorded.complete


def test_a_trial_with_a_hole_in_its_record_is_not_complete(tmp_path: Path) -> None:
    recorder = start_recorder(f"sqlite:///{tmp_path}/mlflow.db")
    storage = record_trial(recorder, tmp_path, report(2))
    assert not recorder.finish("FINISHED")
    (recorded,) = Record(f"sqlite:///{tmp_path}/mlflow.db", "test").trials()
    assert not recorded.complete
    assert storage.read(WEIGHTS), "the next sweep can still record it"


@pytest.mark.parametrize(
    ("end", "status"),
    [(TrialEnd.STOPPED, "FINISHED"), (TrialEnd.INTERRUPTED, "KILLED"), (TrialEnd.FAILED, "FAILED")],
)
def test_how_a_trial_ended_is_its_status(end: TrialEnd, status: str, tmp_path: Path) -> None:
    recorder = start_recorder(f"sqlite:///{tmp_path}/mlflow.db")
    trial = spec(tmp_path, "baseline")
    storage = TrialStorage(str(tmp_path), trial.key, trial.seeds)
    storage.write(CHECKPOINT, b"one epoch")
    recorder.tell(TrialStarted("1", trial))
    recorder.tell(TrialReported("1", report(1)))
    recorder.tell(TrialEnded("1", end, Fault("out of memory")))
    assert recorder.finish("FINISHED")
    assert (storage.read(CHECKPOINT) is None) == (end is TrialEnd.STOPPED), "the next sweep goes on from there"
    (recorded,) = Record(f"sqlite:///{tmp_path}/mlflow.db", "test").trials()
    assert (recorded.status, recorded.complete, recorded.tags["outcome"]) == (status, False, end)
    assert recorded.tags["error"] == "out of memory"


def test_a_record_shows_the_tables_that_a_running_sweep_adds_and_all_later_tags(tmp_path: Path) -> None:
    """The files of a sweep that has ended are read once."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    recorder = start_recorder(uri)
    record = Record(uri, "test")
    assert [sweep.tables for sweep in record.sweeps()] == [()]
    recorder.act(partial(log_tables, run_id=recorder.run_id, tables=[table("digits")]))
    assert recorder.flush()
    assert [sweep.tables for sweep in record.sweeps()] == [(table("digits"),)]
    assert recorder.finish(RunStatus.FINISHED)
    ended = record.sweeps()
    record.client.set_tag(recorder.run_id, "reported", "yes")
    assert record.sweeps() == [replace(sweep, tags={**sweep.tags, "reported": "yes"}) for sweep in ended]


def test_summaries_are_of_each_seeds_own_best() -> None:
    epochs = [epoch(1), epoch(2)]
    epochs[1].metrics["test_error"] = [0.1, 0.6]
    assert summarise(epochs)["best_test_error"] == pytest.approx((0.1 + 0.2) / 2)
    assert summarise(epochs)["seed_epoch_s"] == pytest.approx(0.25)
