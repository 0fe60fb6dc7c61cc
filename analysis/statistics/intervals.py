"""Intervals of a mean over seeds."""

from collections.abc import Sequence
from math import sqrt
from statistics import mean
from typing import NamedTuple

import numpy as np
from scipy import stats

from trainable.files import format_seeds

CONFIDENCE = 0.95
TOLERANCE = 1e-9
"""Differences this close are equal: a split has far fewer images."""


class Interval(NamedTuple):
    """A range of numbers. Both ends are included."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half its width, as stands after ±."""
        return (self.high - self.low) / 2

    def contains(self, value: float) -> bool:
        """Whether the value lies in it."""
        return self.low <= value <= self.high

    def text(self, form: str = ".4f") -> str:
        """As `0.3023 to 0.3101`, each end in that format."""
        return f"{self.low:{form}} to {self.high:{form}}"


def half_width(values: Sequence[float], next_run: bool = False) -> float | None:
    """Half the width of the 95% confidence interval of the mean (Student's t).

    With `next_run` it is half the 95% prediction interval of one more value. None for fewer than two values, and where
    one is not finite, as the losses of a diverged training are.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    factor = next_run + 1 / len(values)
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) * sqrt(factor))


def mean_text(values: Sequence[float], digits: str = ".4f") -> str:
    """The mean in that format, as `0.3071 ± 0.0139` where there are values enough for an interval; `-` for none."""
    if not values:
        return "-"
    half = half_width(values)
    return format(mean(values), digits) + ("" if half is None else f" ± {half:{digits.lstrip('+')}}")


def seeds_text(seeds: Sequence[int]) -> str:
    """Ascending seeds, as `0 to 2, 5`."""
    return format_seeds(tuple(seeds)).replace("to", " to ").replace("_", ", ")


def with_seeds(name: str, seeds: Sequence[int]) -> str:
    """A trial's name with its seeds, unless it has the first one alone: `baseline, seed 3`."""
    return name if tuple(seeds) == (0,) else f"{name}, seed {seeds_text(seeds)}"


def from_to(counts: Sequence[int]) -> str:
    """The smallest and the largest of them, as `3 to 5`; once where they are the same, and empty where there are
    none."""
    ends = sorted(counts)
    return " to ".join(map(str, dict.fromkeys(ends[:1] + ends[-1:])))
