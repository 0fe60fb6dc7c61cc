"""The loss surfaces that a sweep's tables ask for and the record lacks. No Ray, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.record.recorded import TrialRecord
from sweeps.planning.rates import Rates
from trainable.config import Config
from trainable.files import SURFACE, WEIGHTS
from trainable.measures import SURFACE_SEED
from trainable.study import ResolvedTable

IMAGES, FEWEST_IMAGES = 2000, 100
"""Train images of 32x32 pixels that the loss is taken over, spread evenly over the split. Of larger ones as many as
take the same memory, but some at least."""
POINTS, FEW_POINTS = 51, 7
"""Points along each axis, for data with `MANY_IMAGES` to train on and for less: odd, so that the middle one is the
trained weights."""
MANY_IMAGES = 10_000
LINES_ON_A_GPU = 10
"""Lines of one task on a GPU. Ray starts a process for each such task, which takes longer than a line: a process that
was kept would stay on the GPU that it got first. Processes on CPUs are kept, so a task there has one line."""


@dataclass(frozen=True)
class SurfaceSize:
    """How finely the loss around a network's weights is computed."""

    config: Config

    @property
    def points(self) -> int:
        """Points along each axis."""
        return POINTS if self.config.train_images >= MANY_IMAGES else FEW_POINTS

    @property
    def images(self) -> int:
        """Train images that the loss is taken over."""
        return min(self.config.train_images, max(FEWEST_IMAGES, IMAGES * 32**2 // self.config.data.size**2))

    def parts(self, on_gpu: bool) -> list[range]:
        """The numbers of the lines that each task computes."""
        at_once = LINES_ON_A_GPU if on_gpu else 1
        return [range(first, min(first + at_once, self.points)) for first in range(0, self.points, at_once)]

    def tasks_s(self, rates: Rates) -> list[float]:
        """Forecast slot seconds of each task."""
        line_s = self.points * rates.evaluation_s(self.config, self.images)
        return [len(part) * line_s for part in self.parts(rates.device != "cpu")]


@dataclass(frozen=True)
class PlannedSurface:
    """The loss surface of one recorded training, to be computed."""

    trial: TrialRecord

    @property
    def claim(self) -> str:
        """The name under which a sweep claims it."""
        return f"surface/{self.trial.run_id}"

    @property
    def size(self) -> SurfaceSize:
        """How finely it is computed."""
        return SurfaceSize(self.trial.config)


@dataclass(frozen=True)
class SurfacePlan:
    """The surfaces of tables that the record lacks."""

    ready: tuple[PlannedSurface, ...]
    """Those whose training is recorded with its weights."""
    later: tuple[Config, ...]
    """The configs of the others, which are to be trained first."""

    @property
    def sizes(self) -> list[SurfaceSize]:
        """Those of all of them."""
        return [each.size for each in self.ready] + [SurfaceSize(config) for config in self.later]


def plan_surfaces(tables: Sequence[ResolvedTable], trials: Sequence[TrialRecord]) -> SurfacePlan:
    """The surfaces of the tables' trainings that the record lacks."""
    configs = {row.key: row.config for table in tables if table.measure.after_training for row in table.rows}
    trained = [trial for trial in trials if trial.complete and trial.key in configs and SURFACE_SEED in trial.seeds]
    computed = {trial.key for trial in trained if trial.has(SURFACE)}
    first = {trial.key: trial for trial in reversed(trained) if trial.has(WEIGHTS)}  # the first training counts
    return SurfacePlan(
        ready=tuple(PlannedSurface(trial) for trial in first.values() if trial.key not in computed),
        later=tuple(config for key, config in configs.items() if key not in computed | first.keys()),
    )
