"""The loss surfaces that a sweep's tables ask for and the record lacks. No Ray, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.record.recorded import TrialRecord
from sweeps.planning.rates import Rates
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


@dataclass(frozen=True)
class PlannedSurface:
    """The loss surface of one recorded training, to be computed."""

    trial: TrialRecord

    @property
    def claim(self) -> str:
        """The name under which a sweep claims it."""
        return f"surface/{self.trial.run_id}"

    @property
    def points(self) -> int:
        """Points along each axis."""
        return POINTS if self.trial.config.train_images >= MANY_IMAGES else FEW_POINTS

    @property
    def images(self) -> int:
        """Train images that the loss is taken over."""
        config = self.trial.config
        return min(config.train_images, max(FEWEST_IMAGES, IMAGES * 32**2 // config.data.size**2))

    def slot_s(self, rates: Rates) -> float:
        """Forecast slot seconds."""
        return self.points**2 * rates.evaluation_s(self.trial.config, self.images)


def plan_surfaces(tables: Sequence[ResolvedTable], trials: Sequence[TrialRecord]) -> tuple[PlannedSurface, ...]:
    """The surfaces of the tables' trainings that the record lacks, of those whose weights it has."""
    keys = {row.key for table in tables if table.measure.after_training for row in table.rows}
    trained = [trial for trial in trials if trial.complete and trial.key in keys and SURFACE_SEED in trial.seeds]
    computed = {trial.key for trial in trained if trial.has(SURFACE)}
    first = {trial.key: trial for trial in reversed(trained) if trial.has(WEIGHTS)}  # the first training counts
    return tuple(PlannedSurface(trial) for trial in first.values() if trial.key not in computed)
