"""What can be measured of a table's trainings beside their errors. A new measure is a new entry in `MEASURES`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from trainable.storage import SURFACE, TRACES, WEIGHTS

STEP_SIZES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Step sizes of a probe along the gradient, in learning rates (Santurkar et al. 2018, arXiv 1805.11604, appendix A)."""
SURFACE_SEED = 0
"""The seed of the training whose loss surface is computed, and of the surface's random directions."""


@dataclass(frozen=True)
class Measure:
    """What is measured, and what that takes of the training, the plan and the record."""

    name: str
    files: tuple[str, ...] = ()
    """The record must have one of these files of a trial."""
    probe_every: int | None = None
    """Steps between probes along the gradient, where the training is probed."""
    only_seed: int | None = None
    """The one seed that is measured, where it is not all of them."""
    after_training: bool = False
    """Whether it is computed from weights after the trainings. Such a table has the networks of other tables, and its
    errors are shown there."""

    @property
    def time_factor(self) -> float:
        """How many times longer a training takes, at most: a probe takes one gradient a step size."""
        return 1 + len(STEP_SIZES) / self.probe_every if self.probe_every else 1.0

    def is_recorded(self, seed: int, files: Collection[str], probed: bool) -> bool:
        """Whether a complete trial with these files has what is measured of a seed. `probed`: it was trained with
        probes."""
        if self.only_seed not in (None, seed):
            return True
        return (not self.files or any(name in files for name in self.files)) and (probed or not self.probe_every)


ERRORS = Measure("")
"""Errors and nothing else."""
LOSSES = Measure("losses", files=(TRACES,))
"""The loss of every mini-batch."""
PROBE = Measure("probe", files=(TRACES,), probe_every=50)
"""How smooth the loss is along the gradient."""
LOSS_SURFACE = Measure("surface", files=(SURFACE, WEIGHTS), only_seed=SURFACE_SEED, after_training=True)
"""The loss around the trained weights."""
MEASURES = {measure.name: measure for measure in (ERRORS, LOSSES, PROBE, LOSS_SURFACE)}


def _known(name: str) -> str:
    if name not in MEASURES:
        raise ValueError(f"{name!r} is unknown; allowed: {', '.join(filter(None, MEASURES))}")
    return name


MeasureName = Annotated[str, AfterValidator(_known)]
