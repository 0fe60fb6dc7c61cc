"""The variance of a study's errors, learnt from all rows that are compared with one reference: few seeds, many rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import stats

from analysis.statistics.intervals import TOLERANCE

EQUAL_VARIANCES_ALPHA = 0.2
"""The test of equal variances objects where its p is below this. It is above the usual .05, because the two mistakes
are not alike: to use one variance where a row varies more makes that row's tests too bold, to use one for each row only
costs power."""
NEAR_COPY_ALPHA = 1e-4
"""A row is a near copy of its reference if independent trainings would differ so little with a probability below
this."""
DRAWS = 4000
"""Simulated studies in which all rows vary alike: a p value of the test is a rank among them."""


@dataclass(frozen=True)
class Pooled:
    """What rows that were trained for the same seeds vary by, apart from their means and from the seeds'."""

    rows: int
    """The number of rows, the reference included."""
    variance: float
    """Of one row's error of one seed. A difference of two rows over n seeds has the variance 2 * variance / n."""
    dof: int
    """Its degrees of freedom."""
    equal_p: float
    """Of the test that no row varies more than the others."""

    @property
    def equal_variances(self) -> bool:
        """Whether the test does not object, so that the variance counts for each row."""
        return self.equal_p >= EQUAL_VARIANCES_ALPHA


def pooled_variance(rows: Sequence[Mapping[int, float]]) -> Pooled | None:
    """The residual variance of rows of errors by seed, in the model error = row + seed + residual.

    This is the analysis of variance of randomised blocks (Montgomery, Design and Analysis of Experiments, section 4.1);
    a row may lack seeds. The mean of the paired differences' variances would be no substitute: they all contain the
    reference's residuals, so they agree with each other more than their number says.

    Whether one row varies more than the others is tested as Cochran does (1941, Annals of Eugenics 11:47-52), by the
    row with the largest share of the squared residuals. Rows may have different numbers of seeds, so that the share is
    judged by its tail in a chi-squared distribution. The p value is exact for normal errors, also with two seeds a row:
    it is the rank among simulated studies of the same rows and seeds. Levene's test objects in a third of such studies
    with three seeds, and in all with two. The pool has all rows or none: to leave out those that vary most makes the
    variance of the others look too small.

    For two rows the test of their difference is the paired t-test. None for fewer, and where nothing varies.
    """
    if len(rows) < 2:
        return None
    layout = _layout(tuple(tuple(row) for row in rows))
    residuals = layout.residuals(np.array([error for row in rows for error in row.values()]))
    if not layout.dof or np.ptp(residuals) < TOLERANCE:
        return None
    rank = int(np.count_nonzero(layout.simulated <= layout.smallest_tail(residuals)))
    return Pooled(len(rows), float(residuals @ residuals / layout.dof), layout.dof, (rank + 1) / (DRAWS + 1))


def is_near_copy(differences: Sequence[float], pool: Pooled) -> bool:
    """Whether a row's differences from its reference (seeds,) vary far less than the trainings of the pool do: the
    change acts on next to nothing, and each training is nearly that of the reference with the same seed. Such a row
    says nothing of how trainings vary, and would make the pooled variance too small."""
    dof = len(differences) - 1
    return bool(stats.chi2.cdf(dof * np.var(differences, ddof=1) / (2 * pool.variance), dof) < NEAR_COPY_ALPHA)


def hardly_differs(differences: Sequence[float], errors: Sequence[float]) -> bool:
    """Whether a row's differences from its reference vary far less than the reference's errors (seeds,) do from seed to
    seed. A pool of rows that vary much would say it of ordinary rows, too."""
    variances = [float(np.var(each, ddof=1)) for each in (differences, errors)]
    dof = len(errors) - 1
    return variances[1] > 0 and bool(stats.f.cdf(variances[0] / (2 * variances[1]), dof, dof) < NEAR_COPY_ALPHA)


class _Layout:
    """Which rows have which seeds, and what follows from that alone."""

    def __init__(self, rows: tuple[tuple[int, ...], ...]) -> None:
        seeds = sorted({seed for row in rows for seed in row})
        cells = [(index, seeds.index(seed)) for index, row in enumerate(rows) for seed in row]
        model = np.zeros((len(cells), len(rows) + len(seeds)))
        for cell, (row, seed) in enumerate(cells):
            model[cell, row] = model[cell, len(rows) + seed] = 1
        self._project = np.eye(len(cells)) - model @ np.linalg.pinv(model)
        self.dof = len(cells) - int(np.linalg.matrix_rank(model))
        self._starts = np.cumsum([0, *(len(row) for row in rows[:-1])])

    def residuals(self, errors: np.ndarray) -> np.ndarray:
        """What row and seed leave of the errors, (..., cells)."""
        return errors @ self._project

    def smallest_tail(self, residuals: np.ndarray) -> np.ndarray:
        """The smallest of the rows' tails: how rarely a row has so large a share of the squared residuals, (...)."""
        squares = np.add.reduceat(residuals**2, self._starts, axis=-1)
        freedom = np.add.reduceat(self._project.diagonal(), self._starts)
        free = freedom > TOLERANCE  # a row that the model fits exactly says nothing
        share = squares[..., free] / squares.sum(-1, keepdims=True) * self.dof
        return stats.chi2.sf(share, freedom[free]).min(-1)

    @cached_property
    def simulated(self) -> np.ndarray:
        """The smallest tail of each of `DRAWS` studies in which all rows vary alike."""
        drawn = np.random.default_rng(0).normal(size=(DRAWS, len(self._project)))
        return self.smallest_tail(self.residuals(drawn))


_layout = lru_cache(maxsize=64)(_Layout)
