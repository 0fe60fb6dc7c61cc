"""What the record says of a trial and of a sweep, whatever is lost, repeated or refused on the way."""

import shutil
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Run

from analysis.record.mlflow_record import Record
from analysis.record.recorded import RunStatus
from sweeps.fault import Fault
from sweeps.observer import TrialEnded, TrialReported, TrialStarted
from sweeps.recording.recorder import Recorder, log_tables
from sweeps.recording.tracking import ensure_experiment
from sweeps.recording.trial_runs import summarise
from tests.analysis_records import table
from tests.recorders import epoch, record_trial, report, spec, start_recorder
from trainable.config import Config
from trainable.files import WEIGHTS
from trainable.storage import CHECKPOINT, TrialStorage
from trainable.trial import TrialEnd

pytestmark = pytest.mark.usefixtures("made_record")


class Lossy(MlflowClient):
    """Writes, and then loses the answer of each first write of a kind: what follows is a repetition."""

    lost: ClassVar[set[str]] = set()

    def _lose(self, kind: str) -> None:
        if kind not in self.lost:
            self.lost.add(kind)
            raise requests.ConnectionError("the answer is lost")

    def create_run(self, *args: Any, **kwargs: Any) -> Run:
        run = super().create_run(*args, **kwargs)
        if "key" in kwargs["tags"]:
            self._lose("run")
        return run

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
    assert Lossy.lost == {"run", "metrics", "end"}
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
    shutil.rmtree(tmp_path / "mlartifacts")
    record.client.set_tag(recorder.run_id, "reported", "yes")
    assert record.sweeps() == [replace(sweep, tags={**sweep.tags, "reported": "yes"}) for sweep in ended]


def test_summaries_are_of_each_seeds_own_best() -> None:
    epochs = [epoch(1), epoch(2)]
    epochs[1].metrics["test_error"] = [0.1, 0.6]
    assert summarise(epochs)["best_test_error"] == pytest.approx((0.1 + 0.2) / 2)
    assert summarise(epochs)["seed_epoch_s"] == pytest.approx(0.25)


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
