"""Loss surfaces as Ray tasks, one for each line of the grid. Finished lines wait in the storage, so that a surface that
was interrupted goes on."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import ray
from mlflow import MlflowClient
from rich.console import Console
from rich.progress import Progress
from safetensors.numpy import load, save

from analysis.record import Record, TrialRecord
from sweeps.planning.resources import Resources
from sweeps.planning.surface_plan import IMAGES, PlannedSurface
from sweeps.recording.recorder import Recorder, log_arrays
from sweeps.running.context import TrialContext
from trainable.config import Config
from trainable.measures import SURFACE_SEED
from trainable.storage import SURFACE, WEIGHTS, TrialStorage, entries_under

REACH = 1.0
"""The axes end at this many filter norms on both sides."""


def compute_surfaces(
    surfaces: Sequence[PlannedSurface],
    record: Record,
    recorder: Recorder,
    resources: Resources,
    context: TrialContext,
    console: Console,
) -> None:
    """Compute each surface on Ray, on `resources` a line, and hand it to the recorder, which adds it to its trial."""
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(_line)
    for surface in surfaces:
        trial = surface.trial
        weights = entries_under(f"seed_{SURFACE_SEED}/", record.arrays(trial, WEIGHTS))
        shared = ray.put(weights)
        axis = np.linspace(-REACH, REACH, surface.points)
        storage = TrialStorage(context.storage_path, f"surface-{trial.run_id}-{surface.points}", (SURFACE_SEED,))
        waiting = {
            task.remote(trial.config, shared, axis, line, storage, context): line for line in range(surface.points)
        }
        lines: dict[int, dict[str, np.ndarray]] = {}
        with Progress(console=console) as progress:
            bar = progress.add_task(f"loss surface, {trial.name}", total=surface.points)
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                lines[waiting.pop(done)] = ray.get(done)
                progress.advance(bar)
        ordered = [lines[line] for line in range(surface.points)]
        grids = {name: np.stack([line[name] for line in ordered]) for name in ("loss", "error")}
        content = {"alphas": axis, "betas": axis, **grids, "images": ordered[0]["images"]}
        recorder.act(partial(_record, trial, save(content), storage))


def _record(trial: TrialRecord, content: bytes, storage: TrialStorage, client: MlflowClient, _: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / SURFACE
        file.write_bytes(content)
        log_arrays(client, trial.run_id, [file], trial.files)
    storage.remove()


def _line(
    config: Config,
    weights: dict[str, np.ndarray],
    axis: np.ndarray,
    line: int,
    storage: TrialStorage,
    context: TrialContext,
) -> dict[str, np.ndarray]:
    """`loss` and `error` (points,) along one line of the grid, and the number of `images` they are taken over."""
    name = f"grid-line-{line}"
    if (kept := storage.read(name)) is not None:
        return load(kept)
    from trainable.data import load_same
    from trainable.landscape import Evaluator, directions, moved

    evaluator = Evaluator(config, load_same(config.data, context.data_dir, context.fingerprint), IMAGES)
    along = directions(weights, SURFACE_SEED)
    measured = [evaluator.loss_and_error(moved(weights, along, (alpha, axis[line]))) for alpha in axis]
    losses, errors = (np.array(values) for values in zip(*measured, strict=True))
    content = {"loss": losses, "error": errors, "images": np.array(evaluator.images)}
    storage.write(name, save(content))
    return content
