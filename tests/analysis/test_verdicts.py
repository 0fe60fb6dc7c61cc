"""The verdicts on effects: pooled variance and equivalence against SciPy, and error rates in simulated studies."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from analysis.record.replicates import replicates
from analysis.statistics.effects import ALPHA, MARGIN, Effect, Verdict, holm, paired_effects
from analysis.statistics.pooling import EQUAL_VARIANCES_ALPHA, Pooled, pooled_variance
from analysis.statistics.t_tests import t_tests
from tests.analysis_records import resolved_row, table, trial
from trainable.config import Config

Errors = Sequence[Sequence[float]] | np.ndarray
"""By row, of which the first is the baseline, and seed."""
ALIKE = ([0.300, 0.311, 0.306, 0.317], [0.351, 0.364, 0.352, 0.369], [0.299, 0.311, 0.303, 0.320])


def effects_of(errors: Errors) -> list[Effect]:
    """The effects of a study in the order of its rows. Seeds count from 0; a training ends with its highest error."""
    configs = [Config(), *(Config(lr=0.01 * index) for index in range(1, len(errors)))]
    rows = tuple(resolved_row(str(each.lr), each) for each in configs)
    trials = [
        trial(str(config.lr), {seed: [float(error)] for seed, error in enumerate(row)}, config)
        for config, row in zip(configs, errors, strict=True)
    ]
    effects = paired_effects([table().model_copy(update={"rows": rows})], replicates(trials))
    return sorted(effects, key=lambda effect: effect.config.lr)


def test_rows_of_equal_variance_share_it() -> None:
    """Against the formula for complete blocks."""
    errors = np.array(ALIKE)
    residuals = errors - errors.mean(0) - errors.mean(1, keepdims=True) + errors.mean()
    error = np.sqrt(2 * (residuals**2).sum() / 6 / 4)
    effects = effects_of(ALIKE)
    for effect, mean in zip(effects, errors[1:].mean(1) - errors[0].mean(), strict=True):
        assert effect.pooled and effect.tests and effect.tests.dof == 6
        assert effect.interval == pytest.approx(stats.t.interval(0.95, 6, mean, error))
        assert effect.t_p == pytest.approx(2 * stats.t.sf(abs(mean) / error, 6))
    assert [effect.verdict for effect in effects] == [Verdict.HIGHER, Verdict.NO_EFFECT]


def test_rows_of_unequal_variance_are_tested_by_their_own_differences() -> None:
    wild = [0.20, 0.45, 0.30, 0.50]
    for effect, row in zip(effects_of([*ALIKE, wild]), [*ALIKE[1:], wild], strict=True):
        assert effect.pool and not effect.pooled and effect.tests and effect.tests.dof == 3
        assert effect.t_p == pytest.approx(stats.ttest_rel(row, ALIKE[0]).pvalue)


def test_a_training_that_stayed_at_chance_is_no_part_of_the_pool() -> None:
    *alike, at_chance = effects_of([*ALIKE, [0.45, 0.90, 0.44, 0.46]])
    assert [effect.tests for effect in alike] == [effect.tests for effect in effects_of(ALIKE)]
    assert at_chance.pool is None and at_chance.tests is None and at_chance.verdict is Verdict.AT_CHANCE


def test_a_row_that_hardly_differs_from_its_reference_is_no_part_of_the_pool() -> None:
    """As one whose change acts on next to nothing: its trainings are the reference's once more."""
    same = np.add(ALIKE[0], [0, 1e-5, 0, -1e-5])
    *alike, copy = effects_of([*ALIKE, same.tolist()])
    assert [effect.tests for effect in alike] == [effect.tests for effect in effects_of(ALIKE)]
    assert copy.near_copy and copy.pool is None and copy.tests and copy.tests.dof == 3
    assert copy.verdict is Verdict.NO_EFFECT


def test_a_near_copy_does_not_take_the_common_variance_from_the_others() -> None:
    """With it, the others seem to vary more than they should."""
    rows = np.array([[0.300, 0.311, 0.306, 0.317], [0.351, 0.372, 0.352, 0.369], [0.299, 0.301, 0.313, 0.320]])
    same = rows[0] + [0, 1e-5, 0, -1e-5]
    before, after = effects_of(rows), effects_of([*rows, same])
    assert pooled_variance([dict(enumerate(row)) for row in [*rows, same]]).equal_p < EQUAL_VARIANCES_ALPHA
    assert [effect.tests for effect in after[:2]] == [effect.tests for effect in before]
    assert all(effect.pooled for effect in before) and after[2].near_copy


def test_rows_beside_some_that_vary_far_more_are_no_near_copies() -> None:
    wild = [[0.20, 0.85, 0.10, 0.80], [0.75, 0.15, 0.25, 0.80]]
    assert not any(effect.near_copy for effect in effects_of([*ALIKE, *wild[:1]]))
    random = np.random.default_rng(0)
    for _ in range(20):
        alike, apart = 0.3 + 0.004 * random.normal(size=(4, 5)), 0.4 + 0.08 * random.normal(size=(2, 5))
        assert not any(effect.near_copy for effect in effects_of(np.concatenate([alike, apart])))


def test_a_row_with_fewer_seeds_is_in_the_pool_and_a_seed_of_the_baseline_alone_is_not() -> None:
    errors = [[0.300, 0.311, 0.306, 0.500], [0.351, 0.364, 0.352], [0.299, 0.311]]
    pools = {effect.pool for effect in effects_of(errors)}
    assert pools == {pooled_variance([dict(enumerate(row[:3])) for row in errors])}
    (pool,) = pools
    assert pool and pool.dof == 8 - (3 + 3 - 1)


def test_one_row_against_its_reference_is_a_paired_t_test_with_two_one_sided_ones() -> None:
    (effect,) = effects_of(ALIKE[::2])
    differences = np.subtract(ALIKE[2], ALIKE[0])
    assert effect.pool is None
    assert effect.t_p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    above = stats.ttest_1samp(differences, -MARGIN, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, MARGIN, alternative="less").pvalue
    assert effect.equivalence_p == pytest.approx(max(above, below))
    assert effect.verdict is Verdict.NO_EFFECT


BASE = [0.300, 0.311, 0.306, 0.317, 0.309]


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (([0.301, 0.321, 0.310, 0.324, 0.311], [0.315, 0.313, 0.313, 0.322, 0.324]), Verdict.HIGHER),
        (([0.299, 0.309, 0.321, 0.318, 0.305], [0.310, 0.317, 0.308, 0.321, 0.301]), Verdict.NO_EFFECT),
    ],
)
def test_what_is_decided_in_a_study_of_its_own_is_not_beside_another(rows: Errors, verdict: Verdict) -> None:
    """Each p value lies between .026 and .045: below .05, and above half of it."""
    assert [effects_of([BASE, row])[0].verdict for row in rows] == [verdict] * 2
    assert verdict not in [effect.verdict for effect in effects_of([BASE, *rows])]


def test_a_difference_that_is_sure_is_a_difference_also_within_the_margin() -> None:
    (effect,) = effects_of([BASE, [0.303, 0.3141, 0.3089, 0.3202, 0.312]])
    assert effect.equivalence_p is not None and effect.equivalence_p < 1e-6
    assert effect.verdict is Verdict.HIGHER


def test_rows_that_differ_as_trainings_do_are_no_near_copies() -> None:
    generator = np.random.default_rng(3)
    copies = [effect.near_copy for _ in range(60) for effect in effects_of(simulated(generator))]
    assert len(copies) == 720 and sum(copies) <= 1, "1 in 10,000 by chance"


def test_few_scattered_seeds_decide_nothing() -> None:
    (effect,) = effects_of([[0.30, 0.32], [0.31, 0.31]])
    assert effect.verdict is Verdict.UNDECIDED


def simulated(generator: np.random.Generator, effect: float = 0.0, wild: float = 1.0) -> list[np.ndarray]:
    """The errors of a baseline and twelve rows with that effect, the last of which varies `wild` times as much.

    A seed moves all rows alike. Every other row has three of the five seeds.
    """
    scatter = generator.normal(0, 0.003, (13, 5))
    scatter[-1] *= wild
    errors = 0.3 + generator.normal(0, 0.004, 5) + scatter
    errors[1:] += effect
    return [row[: 5 - 2 * (index % 2)] for index, row in enumerate(errors)]


def pool_of(errors: Sequence[np.ndarray]) -> Pooled:
    pool = pooled_variance([dict(enumerate(row)) for row in errors])
    assert pool
    return pool


@pytest.mark.parametrize(("effect", "p_of"), [(0.0, "difference_p"), (-MARGIN, "equivalence_p")])
def test_a_study_has_a_false_verdict_in_one_of_twenty_at_most(effect: float, p_of: str) -> None:
    """Over all its rows, after Holm's correction. There is no effect, or each is as large as the margin."""
    generator, studies, p_values = np.random.default_rng(0), 400, []
    for _ in range(studies):
        errors = simulated(generator, effect)
        pool = pool_of(errors)
        tests = [t_tests(row - errors[0][: len(row)], MARGIN, pool) for row in errors[1:]]
        p_values.append([getattr(test, p_of) for test in tests])
    of_a_study = sum(min(p for p in holm(each) if p is not None) < ALPHA for each in p_values) / studies
    of_a_row = np.mean(np.array(p_values) < ALPHA)
    assert 0.01 < of_a_study < 0.07, "0.05 and two standard errors"
    assert of_a_row == pytest.approx(ALPHA, abs=0.01), "the pooled variance has the degrees of freedom that it claims"


def test_one_row_that_varies_more_is_mostly_noticed() -> None:
    generator = np.random.default_rng(0)
    alike, wild = (
        np.mean([pool_of(simulated(generator, wild=w)).equal_variances for _ in range(400)]) for w in (1.0, 4.0)
    )
    assert alike == pytest.approx(1 - EQUAL_VARIANCES_ALPHA, abs=0.07) and wild < 0.12


@pytest.mark.parametrize("seeds", [2, 3])
def test_rows_of_few_seeds_that_vary_alike_are_as_rarely_objected_to(seeds: int) -> None:
    generator = np.random.default_rng(1)
    equal = [pool_of(list(generator.normal(size=(8, seeds)))).equal_variances for _ in range(400)]
    assert np.mean(equal) == pytest.approx(1 - EQUAL_VARIANCES_ALPHA, abs=0.06)


def test_a_row_that_varies_three_times_as_much_doubles_the_false_verdicts_at_most() -> None:
    """Three seeds are too few to notice it always."""
    generator, studies, false = np.random.default_rng(2), 400, 0
    for _ in range(studies):
        errors = generator.normal(size=(12, 3)) * np.array([*[1] * 11, 3])[:, None]
        pool = pool_of(list(errors))
        p_values = [t_tests(row - errors[0], 1.0, pool).difference_p for row in errors[1:]]
        false += min(p for p in holm(p_values) if p is not None) < ALPHA
    assert false / studies < 0.12
