"""What planned seeds can show: against a textbook's number of pairs, simulated trainings, and on the screen."""

import numpy as np
import pytest
from scipy import stats

from analysis.record.recorded import TrialRecord
from sweeps.planning.power import PowerForecast, detectable, forecast_power
from sweeps.planning.rates import Rates
from sweeps.planning.show import power_line
from sweeps.planning.table_plan import plan_tables
from sweeps.studies.ablations import TABLES
from tests.analysis_records import trial
from trainable.study import Row, Study, Table

RATES = Table(
    number="50", slug="rates", title="x", varies="x",
    rows=(Row(name="0.001"), *(Row(name=str(lr), change={"lr": lr}) for lr in (0.01, 0.02, 0.03))),
)  # fmt: skip
RATES_STUDY = Study(name="rates", title="x", tables=(RATES,))


def forecast(study: Study, trials: list[TrialRecord], seeds: int) -> PowerForecast | None:
    plan = plan_tables([study], base={}, fingerprint="abc", seeds=seeds, recorded={}, rates=Rates("cpu"))
    return forecast_power(plan, trials)


def recorded(study: Study, spread: float, wild: float = 1.0) -> list[TrialRecord]:
    """Three seeds of each row, the last of which varies `wild` times as much."""
    plan = plan_tables([study], base={}, fingerprint="abc", seeds=1, recorded={}, rates=Rates("cpu"))
    generator, trials = np.random.default_rng(0), []
    for index, planned in enumerate(plan.configs):
        deviations = spread * generator.permutation([-1.0, 0.2, 0.8]) * (wild if index == len(plan.configs) - 1 else 1)
        trials.append(trial(planned.name, {s: [0.3 + d] for s, d in enumerate(deviations)}, planned.config))
    return trials


def test_half_a_standard_deviation_takes_34_pairs() -> None:
    """Cohen's number for a paired test, two-sided at .05 with a power of .8. The variance of a difference is 1 here."""
    found = {pairs: detectable(pairs, 0.5, pairs - 1, 0.05) for pairs in (33, 34)}
    assert found[34] < 0.5 < found[33]


@pytest.mark.parametrize(("seeds", "alpha"), [(3, 0.05), (5, 0.05 / 17)])
def test_four_of_five_simulated_differences_of_that_size_are_found(seeds: int, alpha: float) -> None:
    difference = detectable(seeds, 0.006**2, seeds - 1, alpha)
    pairs = np.random.default_rng(0).normal(0, 0.006, (4000, seeds, 2))
    p_values = stats.ttest_rel(pairs[..., 0] + difference, pairs[..., 1], axis=1).pvalue
    assert (p_values < alpha).mean() == pytest.approx(0.8, abs=0.02)


def test_the_record_says_what_the_planned_seeds_can_show() -> None:
    trials = recorded(RATES_STUDY, 0.006)
    three, five = (forecast(RATES_STUDY, trials, seeds) for seeds in (3, 5))
    assert three and five and three.difference and five.difference and three.seeds_needed
    assert (three.comparisons, three.seeds, five.seeds) == (3, 3, 5)
    assert five.difference < three.difference
    enough, fewer = (forecast(RATES_STUDY, trials, three.seeds_needed - less) for less in (0, 1))
    assert enough and fewer and enough.difference and fewer.difference
    assert enough.difference <= 0.01 < fewer.difference, "the fewest seeds for the margin"
    doubled = forecast(RATES_STUDY, recorded(RATES_STUDY, 0.012), 3)
    assert doubled and doubled.difference == pytest.approx(2 * three.difference)


def test_rows_that_vary_unequally_promise_no_pooled_test() -> None:
    alike, unequal = (forecast(RATES_STUDY, recorded(RATES_STUDY, 0.001, wild), 3) for wild in (1.0, 30.0))
    assert alike and unequal and alike.difference and unequal.difference
    own = detectable(3, 1.0, 2, 0.05 / 3) / detectable(3, 1.0, 6, 0.05 / 3)
    assert alike.largest is None and unequal.largest
    assert 0.2 * own < unequal.difference / alike.difference < 3 * own, "that of a row that varies as before"
    assert unequal.largest / alike.difference > 15 * own, "that of the row that varies 30 times as much"
    assert f"(in the median row; {unequal.largest:.4f} in the one that varies most)" in power_line(unequal)


def test_a_record_of_single_seeds_and_a_plan_of_one_row_say_nothing() -> None:
    once = [trial(each.name, {0: [0.3]}, each.config) for each in recorded(RATES_STUDY, 0.006)]
    assert forecast(RATES_STUDY, once, 3) is None and forecast(RATES_STUDY, [], 3) is None
    alone = RATES.model_copy(update={"rows": RATES.rows[:1]})
    assert forecast(RATES_STUDY.model_copy(update={"tables": (alone,)}), recorded(RATES_STUDY, 0.006), 3) is None


def test_it_is_one_line_on_the_screen() -> None:
    one, three = (forecast(TABLES, recorded(TABLES, 0.006), seeds) for seeds in (1, 3))
    assert one and three and three.difference
    assert power_line(one).startswith("study tables: with 1 seed per row, no difference can be shown; 0.01 needs ")
    assert power_line(three) == (
        f"study tables: with 3 seeds per row, a difference of {three.difference:.4f} is found in 80% of cases; 0.01 "
        f"needs {three.seeds_needed} seeds (if errors vary as the recorded ones do; Holm's correction over 17 changes)"
    )
