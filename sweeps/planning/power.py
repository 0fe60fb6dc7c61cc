"""What the planned seeds can show, before anything is spent: learnt from how much the recorded trainings vary."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import median, variance

from pydantic import BaseModel
from scipy.special import nctdtrinc, stdtrit

from analysis.record.recorded import TrialRecord, errors_by_seed
from analysis.statistics.effects import ALPHA, MARGIN
from analysis.statistics.names import compared_baselines
from analysis.statistics.pooling import pooled_variance
from analysis.statistics.t_tests import paired_difference
from sweeps.planning.table_plan import TablePlan

POWER = 0.8
"""The probability with which a difference has to be found."""
MOST_TRIED = 100
"""Larger numbers of seeds are not looked at."""


class PowerForecast(BaseModel):
    """What the paired t-tests of a study's ablations can find."""

    study: str
    comparisons: int
    """Holm's correction is over so many."""
    seeds: int
    """Planned for each row."""
    difference: float | None = None
    """The smallest difference of the error that a row's test finds with probability `POWER`, even at Holm's strictest
    level, ALPHA / comparisons; where rows vary unequally, that of the median row. None for one seed."""
    largest: float | None = None
    """The same of the row that varies most; None where all vary alike."""
    margin: float = MARGIN
    seeds_needed: int | None = None
    """The fewest seeds that find a difference of the margin as often; None where `MOST_TRIED` are too few."""


def forecast_power(plan: TablePlan, trials: Sequence[TrialRecord]) -> PowerForecast | None:
    """The power for the largest group of a plan's rows that the report compares with one reference.

    How much the errors vary is learnt from those of its rows that are recorded for two seeds or more, as
    `pooled_variance` does, or where these vary unequally from each row's differences from the reference. None where
    too few are recorded for that, or where the plan compares nothing.
    """
    blocks: dict[tuple[str, str], list[str]] = {}
    placed = compared_baselines(plan.tables)
    for table in (table for table in plan.tables if table.compares_errors):
        for row in table.rows:
            if row.key not in placed and row.key != table.reference:
                blocks.setdefault((table.study, table.reference), []).append(row.key)
            placed.add(row.key)
    if not blocks:
        return None
    (study, reference), keys = max(blocks.items(), key=lambda block: len(block[1]))
    errors = _recorded_errors(plan, [reference, *keys], trials)
    pool = pooled_variance(list(errors.values()))
    if pool is None:
        return None
    comparisons = sum(len(each) for (of, _), each in blocks.items() if of == study)
    seeds = min(len(each.seeds) + len(each.recorded_seeds) for each in plan.configs if each.key in keys)
    variances, sharing = [pool.variance], len(keys)  # as many rows as the report will take a variance from
    if not pool.equal_variances:
        variances = _own_variances(errors.get(reference, {}), [errors[key] for key in keys if key in errors])
        sharing = 1
    if not variances:
        return None

    def found_with(count: int, of_a_row: float) -> float:
        return detectable(count, of_a_row, sharing * (count - 1), ALPHA / comparisons)

    found = {count: found_with(count, median(variances)) for count in {seeds, *range(2, MOST_TRIED + 1)} - {1}}
    return PowerForecast(
        study=study,
        comparisons=comparisons,
        seeds=seeds,
        difference=found.get(seeds),
        largest=found_with(seeds, max(variances)) if len(variances) > 1 and seeds > 1 else None,
        seeds_needed=min((count for count, difference in found.items() if difference <= MARGIN), default=None),
    )


def detectable(seeds: int, variance: float, dof: int, alpha: float) -> float:
    """The difference that a two-sided paired t-test at `alpha` finds with the power `POWER`, from the noncentral t
    distribution (Cohen 1988, Statistical Power Analysis, chapter 2).

    `variance` is that of one row's error of one seed, as in `Pooled`; the test has `dof` degrees of freedom.
    """
    return float(nctdtrinc(dof, 1 - POWER, stdtrit(dof, 1 - alpha / 2))) * sqrt(2 * variance / seeds)


def _recorded_errors(
    plan: TablePlan, keys: Sequence[str], trials: Sequence[TrialRecord]
) -> dict[str, Mapping[int, float]]:
    """The errors by seed of the rows that are recorded for two seeds or more and left chance with each, by key."""
    configs = {config.key: config.config for config in plan.configs}
    errors = {key: errors_by_seed(trials, key, configs[key].held_out) for key in keys if key in configs}
    return {key: each for key, each in errors.items() if len(each) > 1 and max(each.values()) < configs[key].chance}


def _own_variances(reference: Mapping[int, float], rows: Sequence[Mapping[int, float]]) -> list[float]:
    """For each row that shares two seeds or more with the reference, half the variance of its paired differences: as
    `Pooled.variance`, that of one row's error."""
    paired = [paired_difference(row, reference).values for row in rows]
    return [variance(differences) / 2 for differences in paired if len(differences) > 1]
