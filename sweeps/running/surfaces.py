"""Loss surfaces as Ray tasks, one a line of the grid; finished lines wait in the storage, so that it goes on.

Planning reads this module: Ray, torch and the recorder with its pictures are imported where they are used."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow import MlflowClient
from rich.console import Console
from rich.progress import Progress
from safetensors.numpy import load, save

from analysis.record import SURFACE_SEED, Record, TrialRecord
from sweeps.forecast import SPLIT_SIZES, images_seconds
from sweeps.options import Options
from sweeps.resources import Resources
from trainable.config import Config
from trainable.storage import SURFACE, WEIGHTS, TrialStorage, entries_under
from trainable.study import ResolvedTable

if TYPE_CHECKING:
    from sweeps.recorder import Recorder

IMAGES = 2000
"""Train images that the loss is taken over, spread evenly over the split."""
POINTS, QUICK_POINTS = 51, 7
"""Along each axis, odd so that the middle is the trained weights; the second for digits."""
REACH = 1.0
"""The axes end at this many filter norms on both sides."""


@dataclass(frozen=True)
class Surface:
    """A surface to compute: of the trained network of one row."""

    trial: TrialRecord
    points: int

    def forecast_s(self, rate: float) -> float:
        """Slot seconds at that many floating-point operations a second."""
        return self.points**2 * images_seconds(self.trial.config, IMAGES, rate)


def points(config: Config) -> int:
    """Along each axis, by data."""
    return POINTS if config.data == "cifar10" else QUICK_POINTS


def missing(tables: Sequence[ResolvedTable], trials: Sequence[TrialRecord]) -> list[Surface]:
    """The surfaces that the tables ask for and the record lacks, of the trainings whose weights it has."""
    keys = {row.key for table in tables if table.measure == "surface" for row in table.rows}
    trained = [trial for trial in trials if trial.complete and trial.key in keys and SURFACE_SEED in trial.seeds]
    measured = {trial.key for trial in trained if trial.has(SURFACE)}
    first = {trial.key: trial for trial in reversed(trained) if trial.has(WEIGHTS)}  # as errors are the first's
    return [Surface(trial, points(trial.config)) for trial in first.values() if trial.key not in measured]


def compute(
    surfaces: Sequence[Surface],
    record: Record,
    recorder: "Recorder",
    resources: Resources,
    options: Options,
    console: Console,
) -> None:
    """Compute each surface on Ray and hand it to the recorder, with its trial."""
    import ray

    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(_line)
    for surface in surfaces:
        trial = surface.trial
        own = entries_under(f"seed_{SURFACE_SEED}/", record.arrays(trial, WEIGHTS))
        held, config = ray.put(own), trial.config.model_dump(mode="json")
        axis = np.linspace(-REACH, REACH, surface.points)
        storage = TrialStorage(options.storage_path, f"surface-{trial.run_id}-{surface.points}", (SURFACE_SEED,))
        fingerprint = trial.tags["data_fingerprint"]
        waiting = {
            task.remote(config, held, axis, line, storage, options.trial_data_dir, fingerprint): line
            for line in range(surface.points)
        }
        lines: dict[int, np.ndarray] = {}
        with Progress(console=console) as progress:
            bar = progress.add_task(f"loss surface, {trial.name}", total=surface.points)
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                lines[waiting.pop(done)] = ray.get(done)
                progress.advance(bar)
        measured = np.array([lines[line] for line in range(surface.points)])
        loss, error = (
            np.ascontiguousarray(measured[:, :, place]) for place in (0, 1)
        )  # safetensors writes bare memory
        images = np.array(min(IMAGES, SPLIT_SIZES[trial.config.data][trial.config.protocol][0]))
        content = {"alphas": axis, "betas": axis, "loss": loss, "error": error, "images": images}
        recorder.act(partial(_record, trial, save(content), storage))


def _record(trial: TrialRecord, content: bytes, storage: TrialStorage, client: MlflowClient, _: str) -> None:
    from sweeps.recorder import log_arrays

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / SURFACE
        file.write_bytes(content)
        log_arrays(client, trial.run_id, [file], trial.files)
    storage.remove()


def _line(
    config: dict[str, Any],
    weights: dict[str, np.ndarray],
    axis: np.ndarray,
    line: int,
    storage: TrialStorage,
    data_dir: str | None,
    fingerprint: str,
) -> np.ndarray:
    """(points, 2) loss and error along one line of the grid."""
    name = f"line-{line}"
    if (kept := storage.read(name)) is not None:
        return load(kept)["line"]
    from trainable.data import load_same
    from trainable.landscape import Evaluator, directions, moved

    evaluator = Evaluator(Config(**config), load_same(config["data"], data_dir, fingerprint), IMAGES)
    along = directions(weights, SURFACE_SEED)
    measured = np.array([evaluator.loss_and_error(moved(weights, along, (alpha, axis[line]))) for alpha in axis])
    storage.write(name, save({"line": measured}))
    return measured
