"""Loss surfaces as Ray tasks, each for some lines of the grid. Finished lines wait in the storage, so that a surface
that was interrupted goes on."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
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


class SurfaceTasks:
    """Computes surfaces on Ray, each in several tasks, and hands those that are whole to the recorder, which adds each
    to its trial."""

    def __init__(
        self, record: Record, recorder: Recorder, resources: Resources, context: TrialContext, console: Console
    ) -> None:
        """A task gets these `resources`; as many run at once as the context has slots."""
        self._record, self._recorder, self._console = record, recorder, console
        self._resources, self._context = resources, context

    def compute(self, surfaces: Sequence[PlannedSurface], failed: Callable[[PlannedSurface, Exception], None]) -> None:
        """Compute these. One that fails is told to `failed` with the first error of its tasks; the others go on."""
        task, parts = _as_task(compute_lines, self._resources), self._parts(surfaces, failed)
        waiting: dict[ray.ObjectRef, _Part] = {}
        with Progress(console=self._console) as progress:
            bar = progress.add_task("loss surfaces", total=sum(each.size.points for each in surfaces))
            try:
                while True:
                    while len(waiting) < self._context.slots and (part := next(parts, None)):
                        waiting[task.remote(part.of.grid, part.of.weights, part.numbers)] = part
                    if not waiting:
                        return
                    (done,), _ = ray.wait(list(waiting), num_returns=1)
                    part = waiting.pop(done)
                    progress.advance(bar, len(part.numbers))
                    self._take(part.of, part.numbers, done, failed)
            finally:
                for left in waiting:
                    ray.cancel(left)

    def _take(
        self,
        begun: "_Begun",
        numbers: Sequence[int],
        done: ray.ObjectRef,
        failed: Callable[[PlannedSurface, Exception], None],
    ) -> None:
        """Add the lines of a task that has ended to its surface, and hand that on once it is whole."""
        try:
            lines: list[Line] = ray.get(done)
        except Exception as error:
            if not begun.failed:
                begun.failed = True
                failed(begun.surface, error)
            return
        for warning in filter(None, (line.warning for line in lines)):
            self._console.print(Text(warning, "yellow"), soft_wrap=True)
        begun.lines |= zip(numbers, lines, strict=True)
        if begun.whole:
            self._recorder.act(partial(_add_to_trial, begun.surface.trial, begun.content(), begun.grid.storage))

    def _parts(
        self, surfaces: Sequence[PlannedSurface], failed: Callable[[PlannedSurface, Exception], None]
    ) -> Iterator["_Part"]:
        """The tasks of all surfaces. The weights of a surface are read when its first task is asked for."""
        for surface in surfaces:
            try:
                begun = self._begin(surface)
            except Exception as error:
                failed(surface, error)
                continue
            for numbers in surface.size.parts(on_gpu=self._resources.gpus > 0):
                if not begun.failed:
                    yield _Part(begun, numbers)

    def _begin(self, surface: PlannedSurface) -> "_Begun":
        """Raises `FileNotFoundError` where the record has lost the weights."""
        trial, size = surface.trial, surface.size
        weights = entries_under(f"{seed_name(SURFACE_SEED)}/", self._record.arrays(trial, WEIGHTS))
        if not weights:
            raise FileNotFoundError(
                f"{WEIGHTS} of its run {trial.run_id} is lost or damaged; delete the run to train anew"
            )
        folder = f"surface-{trial.run_id}-{size.points}"
        storage = TrialStorage(self._context.experiment_folder, folder, (SURFACE_SEED,))
        axis = np.linspace(-REACH, REACH, size.points)
        grid = SurfaceGrid(trial.config, axis, size.images, storage, self._context, self._resources)
        return _Begun(surface, grid, ray.put(weights))


@dataclass
class _Begun:
    """A surface of which some lines are computed."""

    surface: PlannedSurface
    grid: SurfaceGrid
    weights: ray.ObjectRef
    lines: dict[int, Line] = field(default_factory=dict)
    """By number."""
    failed: bool = False

    @property
    def whole(self) -> bool:
        return len(self.lines) == len(self.grid.axis)

    def content(self) -> bytes:
        """The file of arrays that the record gets."""
        ordered = [self.lines[number] for number in range(len(self.grid.axis))]
        arrays = {
            "alphas": self.grid.axis,
            "betas": self.grid.axis,
            "loss": np.stack([line.loss for line in ordered]),
            "error": np.stack([line.error for line in ordered]),
            "images": ordered[0].images,
        }
        return save(arrays)


@dataclass(frozen=True)
class _Part:
    """Lines that one task computes."""

    of: _Begun
    numbers: Sequence[int]


def _as_task(function: Callable[..., Any], resources: Resources) -> Any:
    """A Ray task of a function, on these resources."""
    custom = {GPU_MEMORY: resources.gpu_memory_gb} if resources.gpu_memory_gb else {}
    return ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, resources=custom)(function)


def _add_to_trial(trial: TrialRecord, content: bytes, storage: TrialStorage, client: MlflowClient) -> None:
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
