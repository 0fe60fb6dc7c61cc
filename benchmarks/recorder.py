"""What the recorder alone takes for trials that are over at once, with their kernels. `benchmarks.scaling`
calls it."""

import tempfile
import time

import numpy as np
from safetensors.numpy import save as to_safetensors

from analysis.record.recorded import RunStatus
from benchmarks.overhead import NOWHERE, made_spec
from benchmarks.simulation import EPOCHS
from sweeps.observer import TrialEnded, TrialReported, TrialStarted
from trainable.files import TRACES, WEIGHTS
from trainable.storage import TrialStorage
from trainable.trial import Epoch, TrialEnd, TrialReport, TrialSpec

FILTERS = (16, 3, 3, 3)


def record(trials: int, processes: int) -> float:
    """Seconds in which so many trials come into a SQLite record. They report faster than it is written."""
    from sweeps.recording.recorder import Recorder
    from sweeps.recording.tracking import ensure_experiment

    with tempfile.TemporaryDirectory() as folder:
        client, experiment_id = ensure_experiment(f"sqlite:///{folder}/mlflow.db", "recorder")
        recorder = Recorder(client, experiment_id, name="recorder", tags={}, params={}, processes=processes)
        specs = [_ended(folder, index) for index in range(trials)]
        assert recorder.flush(), "the processes have started"
        start = time.perf_counter()
        for index, spec in enumerate(specs):
            name = str(index)
            recorder.tell(TrialStarted(name, spec))
            for epoch in range(1, EPOCHS + 1):
                recorder.tell(TrialReported(name, _report(epoch)))
            recorder.tell(TrialEnded(name, TrialEnd.COMPLETE))
        assert recorder.flush()
        seconds = time.perf_counter() - start
        assert recorder.finish(RunStatus.FINISHED)
    return seconds


def _ended(folder: str, index: int) -> TrialSpec:
    """A trial that has left its files in the storage."""
    spec = made_spec(index, EPOCHS, folder)
    files, filters = TrialStorage(folder, spec.key, spec.seeds), np.random.default_rng(index)
    files.write(WEIGHTS, to_safetensors({}))
    kernels = {f"kernels/epoch_{epoch}": filters.normal(size=FILTERS) for epoch in range(EPOCHS + 1)}
    files.write(TRACES, to_safetensors(kernels))
    return spec


def _report(number: int) -> TrialReport:
    first = NOWHERE if number == 1 else None
    epoch = Epoch(number, 0.5, {"train_loss": [1.0], "train_error": [0.5], "test_error": [0.5]})
    return TrialReport(epochs=(epoch,), done=number == EPOCHS, environment=first)
