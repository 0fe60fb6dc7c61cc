"""What a table can measure of its trainings besides their errors. To add a measure, add an entry to `MEASURES`."""

from collections.abc import Collection
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

from trainable.files import CORRECT, PREDICTIONS, SURFACE, TRACES, WEIGHTS
from trainable.problem import unknown

STEP_SIZES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Step sizes of a probe along the gradient, in learning rates (Santurkar et al. 2018, arXiv 1805.11604, appendix A)."""
SURFACE_SEED = 0
"""The seed of the training whose loss surface is computed. The surface's random directions are drawn with it, too."""


@dataclass(frozen=True)
class Measure:
    """One kind of measurement, and what it requires of training, planning and record."""

    name: str
    files: tuple[str, ...] = ()
    """A recorded trial must have one of these files: they hold the measurement or what it is computed from."""
    probe_every: int | None = None
    """Steps between probes along the gradient; None where the training is not probed."""
    only_seed: int | None = None
    """The one seed that is measured; None for all seeds."""
    after_training: bool = False
    """Whether it is computed from trained weights."""
    errors_shown: bool = True
    """Whether the report shows the table's errors: not where another table shows the same networks, or a section of its
    own shows the result."""

    @property
    def time_factor(self) -> float:
        """How many times longer a training takes, at most. A probe computes one gradient for each step size."""
        return 1 + len(STEP_SIZES) / self.probe_every if self.probe_every else 1.0

    def is_recorded(self, seed: int, files: Collection[str], probed: bool) -> bool:
        """Whether a complete trial with these recorded files has the measurement for a seed. `probed` says whether it
        was trained with probes."""
        if self.only_seed not in (None, seed):
            return True
        return (not self.files or any(name in files for name in self.files)) and (probed or not self.probe_every)


ERRORS = Measure("")
"""No measurement besides the errors."""
LOSSES = Measure("losses", files=(TRACES,))
"""The loss of every mini-batch."""
PROBE = Measure("probe", files=(TRACES,), probe_every=50)
"""How smooth the loss is along the gradient."""
LOSS_SURFACE = Measure(
    "surface", files=(SURFACE, WEIGHTS), only_seed=SURFACE_SEED, after_training=True, errors_shown=False
)
"""The loss around the trained weights."""
CORRECT_IMAGES = Measure("correct", files=(CORRECT,))
"""Which held-out images the last epoch classified correctly."""
PREDICTED_CLASSES = Measure("predictions", files=(PREDICTIONS,), errors_shown=False)
"""The class and the confidence that each network gives each held-out image: the proof of a search's winner."""
DIFFERENCES = Measure("differences", errors_shown=False)
"""What each difference of a search's winner is worth: the rows have one of them taken back."""
RUNGS = Measure("rungs", errors_shown=False)
"""How early the last error can be foretold. The table's rows are random configs, each at several numbers of epochs."""
MEASURES = {
    measure.name: measure
    for measure in (ERRORS, LOSSES, PROBE, LOSS_SURFACE, CORRECT_IMAGES, PREDICTED_CLASSES, DIFFERENCES, RUNGS)
}

_FILES = [(name, measure) for measure in MEASURES.values() for name in measure.files]
TRAINING_FILES = tuple(dict.fromkeys([WEIGHTS, *(name for name, measure in _FILES if not measure.after_training)]))
"""The files that a finished training leaves: its weights, and what is measured while it runs."""
EXPORTED_FILES = tuple(dict.fromkeys(name for name, _ in _FILES if name != WEIGHTS))
"""The files that every export of the record has: the report is drawn and computed from them."""


def _by_name(value: object) -> Measure:
    if isinstance(value, Measure):
        return value
    if not isinstance(value, str) or value not in MEASURES:
        raise ValueError(f"{value!r} {unknown(str(value), list(filter(None, MEASURES)))}")
    return MEASURES[value]


NamedMeasure = Annotated[InstanceOf[Measure], BeforeValidator(_by_name), PlainSerializer(attrgetter("name"))]
"""A field of a pydantic model that files give, and keep, by the measure's name."""
