"""The variance of a study's errors, learnt from all rows that are compared with one reference: few seeds, many rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.intervals import EQUAL

OBJECTS = 0.05
"""Levene's test objects to equal variances where its p is below this."""


@dataclass(frozen=True)
class Pooled:
    """What rows that were trained for the same seeds vary by, apart from their means and from the seeds'."""

    rows: int
    """With the reference."""
    variance: float
    """Of one row's error of one seed. A difference of two rows over n seeds has the variance 2 * variance / n."""
    dof: int
    """Its degrees of freedom."""
    levene_p: float
    """Of the test that all rows have this variance."""

    @property
    def equal(self) -> bool:
        """Whether the test does not object, so that the variance counts for each row."""
        return self.levene_p >= OBJECTS


def pooled_variance(rows: Sequence[Mapping[int, float]]) -> Pooled | None:
    """The residual variance of rows of errors by seed, in the model error = row + seed + residual.

    This is the analysis of variance of randomised blocks (Montgomery, Design and Analysis of Experiments, section 4.1);
    a row may lack seeds. The mean of the paired differences' variances would be no substitute: they all contain the
    reference's residuals, so they agree with each other more than their number says.

    Equal variances are tested on the residuals with Levene's test about the mean. The variant about the median
    (Brown-Forsythe) cannot object with three seeds: one of three deviations is always 0. Levene's test objects more
    often than its level says, which costs power and no error rate. The pool has all rows or none: to leave out those
    that vary most makes the variance of the others look too small.

    For two rows the test of their difference is the paired t-test. None for fewer, and where nothing varies.
    """
    if len(rows) < 2:
        return None
    seeds = sorted({seed for row in rows for seed in row})
    cells = [(index, seeds.index(seed), error) for index, row in enumerate(rows) for seed, error in row.items()]
    model = np.zeros((len(cells), len(rows) + len(seeds)))
    for cell, (index, seed, _) in enumerate(cells):
        model[cell, index] = model[cell, len(rows) + seed] = 1
    errors = np.array([error for *_, error in cells])
    effects, _, rank, _ = np.linalg.lstsq(model, errors)
    residuals = errors - model @ effects
    dof = len(cells) - int(rank)
    if not dof or np.ptp(residuals) < EQUAL:
        return None
    by_row = np.split(residuals, np.cumsum([len(row) for row in rows])[:-1])
    levene = stats.levene(*by_row, center="mean")
    return Pooled(len(rows), float(residuals @ residuals / dof), dof, float(levene.pvalue))
