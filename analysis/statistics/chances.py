"""How likely a change is to be better in one new training."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from analysis.statistics.intervals import CONFIDENCE, TOLERANCE, Interval


@dataclass(frozen=True)
class Chance:
    """The probability that a new training with the change has the lower error, beside one of the reference with the
    same seed, if the two differ (Bouthillier et al. 2021, MLSys, section 4)."""

    lower: int
    """Seeds whose error is lower with the change."""
    seeds: int
    """Those whose error differs."""
    interval: Interval
    """The 95% interval of the probability: exact, of Clopper and Pearson."""


def chance_of_lower(differences: Sequence[float]) -> Chance | None:
    """The chance that a difference is below 0; None where no seed differs."""
    differing = [each for each in differences if abs(each) >= TOLERANCE]
    if not differing:
        return None
    lower = sum(each < 0 for each in differing)
    interval = stats.binomtest(lower, len(differing)).proportion_ci(CONFIDENCE, "exact")
    return Chance(lower, len(differing), Interval(float(interval.low), float(interval.high)))
