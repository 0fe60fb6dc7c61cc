"""The t-tests of a mean difference: is there any, and is it surely too small to matter?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from scipy import stats
from scipy.special import stdtr, stdtrit

from analysis.statistics.intervals import CONFIDENCE, TOLERANCE, Interval, mean_text
from analysis.statistics.pooling import Pooled
from analysis.writing.words import counted


@dataclass(frozen=True)
class TTests:
    """The tests of the mean of differences that are paired by seed."""

    dof: int
    interval: Interval
    """The 95% confidence interval of the mean."""
    difference_p: float
    """Two-sided, of the hypothesis that there is no difference: the paired t-test."""
    equivalence_p: float
    """Of the hypothesis that the difference is at least as large as the margin, on either side."""


@dataclass(frozen=True)
class PairedDifference:
    """The errors of one config minus those of another, paired by seed."""

    values: tuple[float, ...]

    @property
    def p(self) -> float | None:
        """Of the paired t-test; None for fewer than two seeds, and where all seeds differ by the same."""
        return paired_t_p(self.values, "two-sided")

    @property
    def text(self) -> str:
        """The mean with its interval, the number of seeds and the p value, if any; empty for no seed."""
        if not self.values:
            return ""
        tested = "" if (p := self.p) is None else f", p {p_text(p)}, not corrected"
        return f"{mean_text(self.values, '+.4f')} ({counted(len(self.values), 'seed')}{tested})"


def paired_difference(errors: Mapping[int, float], reference: Mapping[int, float]) -> PairedDifference:
    """The errors minus the reference's, for the seeds that both have."""
    return PairedDifference(tuple(errors[seed] - reference[seed] for seed in sorted(errors.keys() & reference.keys())))


def paired_t_p(differences: Sequence[float], alternative: Literal["two-sided", "greater"]) -> float | None:
    """The p value of the paired t-test with the differences' own variance; None for fewer than two seeds, and where all
    seeds differ by the same."""
    if len(differences) < 2 or np.ptp(differences) < TOLERANCE:
        return None
    return float(stats.ttest_1samp(differences, 0.0, alternative=alternative).pvalue)


def t_tests(differences: Sequence[float], margin: float, pool: Pooled | None = None) -> TTests | None:
    """The tests of differences (seeds,) with the variance of a pool, or with their own where there is no pool or where
    the rows in it do not have equal variances.

    The equivalence test is that of two one-sided t-tests (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657-680).
    None for fewer than two seeds, and where all seeds differ by the same and there is no pool.
    """
    seeds = len(differences)
    if seeds < 2:
        return None
    if pool and pool.equal_variances:
        variance, dof = 2 * pool.variance, pool.dof
    elif np.ptp(differences) < TOLERANCE:
        return None
    else:
        variance, dof = float(np.var(differences, ddof=1)), seeds - 1
    mean, error = float(np.mean(differences)), sqrt(variance / seeds)
    half = float(stdtrit(dof, (1 + CONFIDENCE) / 2)) * error
    return TTests(
        dof=dof,
        interval=Interval(mean - half, mean + half),
        difference_p=float(2 * stdtr(dof, -abs(mean) / error)),
        equivalence_p=float(stdtr(dof, (abs(mean) - margin) / error)),
    )


def p_text(p: float | None) -> str:
    """A p value to three decimals, `<0.001` below that, `-` for None."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
