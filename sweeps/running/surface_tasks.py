"""Loss surfaces as Ray tasks, each for some lines of the grid. Finished lines wait in the storage, so that a surface
that was interrupted goes on."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import ray
from mlflow import MlflowClient
from rich.console import Console
from rich.progress import Progress
from rich.text import Text
from safetensors.numpy import load, save

from analysis.record.mlflow_record import Record
from analysis.record.recorded import TrialRecord
from sweeps.planning.resources import GPU_MEMORY, Resources
from sweeps.planning.surface_plan import PlannedSurface
from sweeps.recording.recorder import Recorder
from sweeps.recording.trial_runs import log_arrays
from sweeps.running.specs import TrialContext
from trainable.config import Config
from trainable.files import SURFACE, WEIGHTS, entries_under, seed_name
from trainable.measures import SURFACE_SEED
from trainable.storage import DamagedFileError, TrialStorage

REACH = 1.0
"""The axes end at this many filter norms on both sides."""
LINES_ON_A_GPU = 10
"""Lines of one task on a GPU. Ray starts a process for each such task, which takes longer than a line: a process that
was kept would stay on the GPU that it got first. Processes on CPUs are kept, so a task there has one line."""


@dataclass(frozen=True)
class SurfaceGrid:
    """What a process needs to compute lines of one surface, besides the weights."""

    config: Config
    axis: np.ndarray
    """The points of a line, (points,)."""
    images: int
    """Train images that the loss is taken over."""
    storage: TrialStorage
    """Of finished lines."""
    context: TrialContext
    resources: Resources


@dataclass(frozen=True)
class Line:
    """One line of the grid."""

    loss: np.ndarray
    """(points,)"""
    error: np.ndarray
    """(points,)"""
    images: np.ndarray
    """The number of images that both are taken over, a scalar."""
    warning: str = ""
    """What a person should know of it."""


def compute_surface(
    surface: PlannedSurface,
    record: Record,
    recorder: Recorder,
    resources: Resources,
    context: TrialContext,
    console: Console,
) -> None:
    """Compute a surface on Ray, on `resources` a task, and hand it to the recorder, which adds it to its trial.

    Raises what the first task raises that fails; the tasks that have not begun are cancelled.
    """
    task, trial = _as_task(compute_lines, resources), surface.trial
    weights = entries_under(f"{seed_name(SURFACE_SEED)}/", record.arrays(trial, WEIGHTS))
    if not weights:
        raise FileNotFoundError(f"{WEIGHTS} of its run {trial.run_id} is lost or damaged; delete the run to train anew")
    shared = ray.put(weights)
    storage = TrialStorage(context.experiment_folder, f"surface-{trial.run_id}-{surface.points}", (SURFACE_SEED,))
    axis = np.linspace(-REACH, REACH, surface.points)
    grid = SurfaceGrid(trial.config, axis, surface.images, storage, context, resources)
    numbers, at_once = range(surface.points), LINES_ON_A_GPU if resources.gpus else 1
    parts = iter([numbers[first : first + at_once] for first in numbers[::at_once]])
    waiting = {task.remote(grid, shared, part): part for part in islice(parts, context.slots)}
    lines: dict[int, Line] = {}
    with Progress(console=console) as progress:
        bar = progress.add_task(f"loss surface, {trial.name}", total=surface.points)
        try:
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                part = waiting.pop(done)
                for number, line in zip(part, ray.get(done), strict=True):
                    lines[number] = line
                    if line.warning:
                        progress.console.print(Text(line.warning, "yellow"), soft_wrap=True)
                progress.advance(bar, len(part))
                waiting |= {task.remote(grid, shared, part): part for part in islice(parts, 1)}
        finally:
            for left in waiting:
                ray.cancel(left)
    ordered = [lines[number] for number in numbers]
    content = {
        "alphas": grid.axis,
        "betas": grid.axis,
        "loss": np.stack([line.loss for line in ordered]),
        "error": np.stack([line.error for line in ordered]),
        "images": ordered[0].images,
    }
    recorder.act(partial(_record, trial, save(content), storage))


def _as_task(function: Callable[..., Any], resources: Resources) -> Any:
    """A Ray task of a function, on these resources."""
    custom = {GPU_MEMORY: resources.gpu_memory_gb} if resources.gpu_memory_gb else {}
    return ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, resources=custom)(function)


def _record(trial: TrialRecord, content: bytes, storage: TrialStorage, client: MlflowClient) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / SURFACE
        file.write_bytes(content)
        log_arrays(client, trial.run_id, [file], trial.files)
    storage.remove()


def compute_lines(grid: SurfaceGrid, weights: dict[str, np.ndarray], numbers: Sequence[int]) -> list[Line]:
    """Some lines of the grid, each from the storage where it is finished. A damaged one is computed again.

    Raises `DeviceError` for a GPU that torch cannot use.
    """
    measure: Callable[[int], dict[str, np.ndarray]] | None = None
    lines = []
    for number in numbers:
        name, kept, warning = f"grid-line-{number}", None, ""
        try:
            kept = grid.storage.read(name)
        except DamagedFileError as error:
            warning = f"a line of a loss surface is computed again: {error}"
        if kept is None:
            measure = measure or _measurement(grid, weights)
            kept = save(measure(number))
            grid.storage.write(name, kept)
        arrays = load(kept)
        lines.append(Line(arrays["loss"], arrays["error"], arrays["images"], warning))
    return lines


def _measurement(grid: SurfaceGrid, weights: dict[str, np.ndarray]) -> Callable[[int], dict[str, np.ndarray]]:
    """What measures a line of the grid."""
    import torch

    from trainable.data import load_same
    from trainable.landscape import Evaluator, directions, moved

    torch.set_num_threads(max(1, int(grid.resources.cpus)))
    data = load_same(grid.config.data.name, grid.context.data_dir, grid.context.fingerprint)
    evaluator = Evaluator(grid.config, data, grid.images, grid.resources.device)
    along = directions(evaluator.parameters_of(weights), SURFACE_SEED)

    def measure(number: int) -> dict[str, np.ndarray]:
        points = [(alpha, grid.axis[number]) for alpha in grid.axis]
        measured = [evaluator.loss_and_error(moved(weights, along, point)) for point in points]
        losses, errors = (np.array(values) for values in zip(*measured, strict=True))
        return {"loss": losses, "error": errors, "images": np.array(evaluator.images)}

    return measure
