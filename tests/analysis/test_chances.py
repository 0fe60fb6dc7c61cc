"""The chance of a lower error, and the interquartile mean with its stratified bootstrap."""

import numpy as np
import pytest
from scipy import stats

from analysis.agreement import interquartile_mean
from analysis.statistics.chances import chance_of_lower


def test_the_chance_is_of_seeds_that_differ() -> None:
    chance = chance_of_lower([-0.01, -0.02, 0.01, 0.0])
    assert chance and (chance.lower, chance.seeds) == (2, 3)
    low, high = stats.beta.ppf(0.025, 2, 2), stats.beta.ppf(0.975, 3, 1)
    assert chance.interval == pytest.approx((low, high)), "Clopper and Pearson's, from the beta distribution"
    assert chance_of_lower([0.0, 0.0]) is None


def test_the_interquartile_mean_is_that_of_the_middle_half_of_all_rows() -> None:
    made = interquartile_mean([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 1000.0], [7.0]])
    assert made and made.mean == pytest.approx((2 + 3 + 4 + 5) / 4), "a row of one seed is left out"
    assert interquartile_mean([[0.1], [0.2]]) is None


def test_the_bootstrap_draws_seeds_within_rows() -> None:
    """Rows far apart do not widen the interval: only seeds do. It covers as it says where rows are many."""
    apart = interquartile_mean([[row, row, row] for row in (0.1, 0.2, 0.3, 0.9)])
    assert apart and apart.interval == pytest.approx((apart.mean, apart.mean))
    generator, covered = np.random.default_rng(0), 0
    for _ in range(100):
        made = interquartile_mean(generator.normal(0, 1, (18, 5)).tolist())
        assert made
        covered += made.interval[0] <= 0 <= made.interval[1]
    assert 85 <= covered <= 99
