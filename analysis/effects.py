"""The effect of each ablation: its error against that of its reference, paired by seed, with intervals and tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.intervals import CONFIDENCE
from analysis.replicates import Replicates
from trainable.config import Config
from trainable.study import ResolvedRow, ResolvedTable

BASELINE = "baseline"
ALPHA = 0.05
"""An effect is established where p is below this after Holm's correction."""
EQUAL = 1e-9
"""Differences this close are equal: a split has far fewer images."""
HEADER = (
    "study", "row", "against", "seeds", "difference", "low", "high", "t-test p", "t-test p, Holm",
    "Wilcoxon p", "Wilcoxon p, Holm",
)  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """A config's error minus that of its reference, for the seeds that both have.

    The interval and the tests are None for fewer than two seeds, and where all seeds differ by the same.
    """

    study: str
    """The first study that the config is a row of."""
    name: str
    against: str
    """The reference: `baseline`, or the name of another row."""
    config: Config
    differences: tuple[float, ...]
    """One for each seed, in ascending order of the seeds."""
    interval: tuple[float, float] | None
    """The 95% confidence interval of the mean difference, not corrected for the number of effects."""
    t_p: float | None
    wilcoxon_p: float | None
    t_holm: float | None = None
    wilcoxon_holm: float | None = None

    @property
    def mean(self) -> float:
        """The mean difference. Above 0 the config has the higher error."""
        return float(np.mean(self.differences))

    @property
    def established(self) -> bool:
        """Whether the t-test is below `ALPHA` after the correction for all effects of the study."""
        return self.t_holm is not None and self.t_holm < ALPHA


def paired_effects(tables: Sequence[ResolvedTable], trainings: Mapping[str, Replicates]) -> list[Effect]:
    """The effect of each distinct config on the held-out error after the last epoch, the largest gain first.

    It is the last epoch's error, because a minimum over the epochs on the test split is optimistic. A config is
    compared with the reference of the first table that has it, and has no effect where the record lacks either. The
    tests are the paired t-test and Wilcoxon's signed-rank test; Holm's correction is over the effects of one study, for
    each test apart.
    """
    rows: dict[str, tuple[ResolvedTable, ResolvedRow]] = {}
    for table in tables:
        for row in table.rows:
            rows.setdefault(row.key, (table, row))
    names = {
        key: BASELINE if row.config.is_baseline else f"{table.slug}: {row.name}" for key, (table, row) in rows.items()
    }
    by_study: dict[str, list[Effect]] = {}
    for key, (table, row) in rows.items():
        if row.config.is_baseline or key == table.reference or not {key, table.reference} <= trainings.keys():
            continue
        errors, reference_errors = (_final_errors(trainings[each]) for each in (key, table.reference))
        if shared := sorted(reference_errors.keys() & errors.keys()):
            differences = np.array([errors[seed] - reference_errors[seed] for seed in shared])
            against = names.get(table.reference, table.reference)
            effect = _effect(table.study, names[key], against, row.config, differences)
            by_study.setdefault(table.study, []).append(effect)
    corrected = [effect for family in by_study.values() for effect in _corrected(family)]
    return sorted(corrected, key=lambda effect: effect.mean)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p values after Holm's step-down correction (Holm 1979, Scand. J. Statist. 6:65-70), in the given order.

    None, a test that was not made, stays None and is not counted.
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = largest
    return adjusted


def effect_rows(effects: Sequence[Effect]) -> list[list[str]]:
    """The cells of a table whose header is `HEADER`; `-` where there are too few seeds."""
    return [
        [
            effect.study,
            effect.name,
            effect.against,
            str(len(effect.differences)),
            f"{effect.mean:+.4f}",
            *(["-", "-"] if effect.interval is None else [f"{bound:+.4f}" for bound in effect.interval]),
            *(p_text(p) for p in (effect.t_p, effect.t_holm, effect.wilcoxon_p, effect.wilcoxon_holm)),
        ]
        for effect in effects
    ]


def p_text(p: float | None) -> str:
    """A p value to three decimals, `<0.001` below that, `-` for None."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _final_errors(trained: Replicates) -> dict[int, float]:
    return {seed: series[-1][1] for seed, series in trained.by_seed(trained.config.held_out).items()}


def _corrected(family: Sequence[Effect]) -> list[Effect]:
    t_holm = holm([effect.t_p for effect in family])
    wilcoxon_holm = holm([effect.wilcoxon_p for effect in family])
    return [
        replace(effect, t_holm=t, wilcoxon_holm=w) for effect, t, w in zip(family, t_holm, wilcoxon_holm, strict=True)
    ]


def _effect(study: str, name: str, against: str, config: Config, differences: np.ndarray) -> Effect:
    values = tuple(differences.tolist())
    if len(values) < 2 or np.ptp(differences) < EQUAL:
        return Effect(study, name, against, config, values, None, None, None)
    t_test = stats.ttest_1samp(differences, 0.0)
    low, high = t_test.confidence_interval(CONFIDENCE)
    return Effect(study, name, against, config, values, (float(low), float(high)), float(t_test.pvalue),
                  float(stats.wilcoxon(differences).pvalue))  # fmt: skip
