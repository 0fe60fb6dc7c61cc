"""A recorder, and trials to record."""

from pathlib import Path

from sweeps.observer import TrialEnded, TrialReported, TrialStarted
from sweeps.recording.recorder import Recorder
from sweeps.recording.tracking import ensure_experiment
from tests.specs import trial_spec
from trainable.config import Config
from trainable.files import WEIGHTS
from trainable.storage import TrialStorage
from trainable.trial import Epoch, TrialEnd, TrialReport, TrialSpec


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
