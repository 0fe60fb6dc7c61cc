"""The effect of each ablation: its error against that of its reference, paired by seed, with intervals and tests."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from scipy import stats

from analysis.record.replicates import Replicates
from analysis.statistics.cells import ended_at_chance
from analysis.statistics.chances import Chance, chance_of_lower
from analysis.statistics.crossed import CorrectImages, crossed_half_width, stacked
from analysis.statistics.intervals import Interval
from analysis.statistics.names import changed_text, compared_baselines, reference_names, row_name
from analysis.statistics.pooling import Pooled, hardly_differs, is_near_copy, pooled_variance
from analysis.statistics.t_tests import TTests, t_tests
from trainable.config import Config
from trainable.study import ResolvedRow, ResolvedTable

ALPHA = 0.05
"""A test decides where its p is below this after Holm's correction."""
TIE_DECIMALS = 9
"""Differences of the error that are equal to so many decimals are equal: a split has far fewer images."""
MARGIN = 0.01
"""Differences of the error that are smaller do not matter: one in a hundred images."""


class Verdict(StrEnum):
    """What the tests of an effect say."""

    LOWER = "lower"
    """The t-test finds that the error is lower."""
    HIGHER = "higher"
    NO_EFFECT = "no effect beyond the margin"
    """The equivalence test finds that the difference is smaller than the margin, and the t-test finds none."""
    UNDECIDED = "undecided"
    """Neither does, or there are too few seeds for a test."""
    AT_CHANCE = "a training ended at chance"
    """One of the config or of its reference: a mean over trainings that learn and trainings that do not is no effect,
    and is not tested."""


@dataclass(frozen=True)
class Effect:
    """A config's error minus that of its reference, for the seeds that both have. A p value is None where there is no
    test."""

    study: str
    """The first study that compares the config with this reference."""
    name: str
    """The name of its row, with what varies there and the table's number where there are several tables."""
    against: str
    """The reference: `baseline`, the name of another row, or what it changes in the baseline."""
    config: Config
    reference: Config
    seeds: tuple[int, ...]
    """Those that both have, ascending."""
    differences: tuple[float, ...]
    """One for each of these seeds."""
    margin: float = MARGIN
    """What the equivalence test compares the difference with."""
    pool: Pooled | None = None
    """The variance of the study's rows with the same reference. None where they are fewer than two or do not vary, for
    a row with fewer than two seeds, where a training ended at chance, and for a `near_copy`."""
    near_copy: bool = False
    """Whether its trainings hardly differ from its reference's: see `is_near_copy`."""
    tests: TTests | None = None
    """None for fewer than two seeds, and where a training ended at chance. Also where all seeds differ by the same,
    unless the variance is pooled."""
    wilcoxon_p: float | None = None
    new_images_interval: Interval | None = None
    """The 95% interval of the mean difference over new seeds and new images; None where the record lacks which images
    the seeds get right."""
    image_seeds: int = 0
    """Of how many seeds the record has these images for both configs. The images' part of the interval is theirs."""
    ended_at_chance: bool = False
    """Whether one of its trainings, or of its reference's, ended at chance."""
    t_holm: float | None = None
    equivalence_holm: float | None = None
    wilcoxon_holm: float | None = None

    @property
    def mean(self) -> float:
        """The mean difference. Above 0 the config has the higher error."""
        return float(np.mean(self.differences))

    @property
    def interval(self) -> Interval | None:
        """The 95% confidence interval of the mean difference, not corrected for the number of effects."""
        return self.tests.interval if self.tests else None

    @property
    def as_text(self) -> str:
        """The mean difference and half the width of its interval, as `-0.0092 ± 0.0105`."""
        return f"{self.mean:+.4f}{self._half_width_text}"

    @property
    def size_text(self) -> str:
        """The same without the sign, for a sentence that says whether the error rises or falls."""
        return f"{abs(self.mean):.4f}{self._half_width_text}"

    @property
    def _half_width_text(self) -> str:
        return f" ± {self.interval.half_width:.4f}" if self.interval else ""

    @property
    def t_p(self) -> float | None:
        """The p value of the paired t-test."""
        return self.tests.difference_p if self.tests else None

    @property
    def equivalence_p(self) -> float | None:
        """The p value of the equivalence test."""
        return self.tests.equivalence_p if self.tests else None

    @property
    def chance(self) -> Chance | None:
        """The chance that one new training has the lower error."""
        return chance_of_lower(self.differences)

    @property
    def pooled(self) -> bool:
        """Whether the interval and the tests rest on the pooled variance. Else they rest on that of the differences."""
        return self.pool is not None and self.pool.equal_variances

    @property
    def established(self) -> bool:
        """Whether the t-test is below `ALPHA` after the correction for all effects of the study."""
        return self.t_holm is not None and self.t_holm < ALPHA

    @property
    def verdict(self) -> Verdict:
        """What the tests say, each after the correction for all effects of the study."""
        if self.ended_at_chance:
            return Verdict.AT_CHANCE
        if self.established:
            return Verdict.LOWER if self.mean < 0 else Verdict.HIGHER
        if self.equivalence_holm is not None and self.equivalence_holm < ALPHA:
            return Verdict.NO_EFFECT
        return Verdict.UNDECIDED


def paired_effects(
    tables: Sequence[ResolvedTable],
    trainings: Mapping[str, Replicates],
    margin: float = MARGIN,
    correct: Mapping[str, CorrectImages] = MappingProxyType({}),
) -> list[Effect]:
    """The effect of each distinct config on the held-out error after the last epoch, the largest gain first.

    It is the last epoch's error, because a minimum over the epochs on the test split is optimistic. A config is
    compared once with each reference of the tables that have it. It has no effect where the record lacks either, or
    where they are judged on different images.

    The tests are the paired t-test of a difference, the equivalence test against a difference of `margin`, and
    Wilcoxon's signed-rank test. The first two take the variance from all rows of a study with the same reference where
    the test of equal variances does not object (see `pooled_variance`). Holm's correction is over the effects of one
    study, for each test apart. `correct` has the images that each seed of a key gets right, where they are known.
    """
    pairs: dict[tuple[str, str], tuple[ResolvedTable, ResolvedRow]] = {}
    for table in tables:
        for row in table.rows:
            pairs.setdefault((row.key, table.reference), (table, row))
    baselines, names = compared_baselines(tables), reference_names(tables)
    blocks: dict[tuple[str, str], dict[str, Effect]] = {}
    for (key, reference), (table, row) in pairs.items():
        if key in baselines or key == reference or not {key, reference} <= trainings.keys():
            continue
        if judged_on(trainings[key]) != judged_on(trainings[reference]):
            continue
        config, base = trainings[key].config, trainings[reference].config
        errors, reference_errors = (trainings[each].last_errors() for each in (key, reference))
        if shared := sorted(reference_errors.keys() & errors.keys()):
            blocks.setdefault((table.study, reference), {})[key] = Effect(
                study=table.study,
                name=row_name(table, row, len(tables) > 1),
                against=names.get(reference) or changed_text(base),
                config=config,
                reference=base,
                seeds=tuple(shared),
                differences=tuple(errors[seed] - reference_errors[seed] for seed in shared),
                margin=margin,
                ended_at_chance=any(ended_at_chance(trainings[each]) for each in (key, reference)),
            )
    by_study: dict[str, list[Effect]] = {}
    for (study, reference), effects in blocks.items():
        family = by_study.setdefault(study, [])
        for key, effect in _with_variances(effects, reference, trainings).items():
            family.append(_crossed(_tested(effect), correct.get(key, {}), correct.get(reference, {})))
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


def judged_on(trained: Replicates) -> tuple[str, str]:
    """The images on which a config's held-out error is taken: the fingerprint of its data, and which of them."""
    return trained.fingerprint, trained.config.held_out


def _pool(reference: str, keys: Collection[str], trainings: Mapping[str, Replicates]) -> Pooled | None:
    """The pooled variance of a reference and these rows, which are compared with it. None for fewer than two rows.

    The seeds are those that the reference shares with a row.
    """
    if len(keys) < 2:
        return None
    base = trainings[reference].last_errors()
    paired = [{s: e for s, e in trainings[key].last_errors().items() if s in base} for key in keys]
    shared = {seed for row in paired for seed in row}
    return pooled_variance([{seed: error for seed, error in base.items() if seed in shared}, *paired])


def _with_variances(
    effects: Mapping[str, Effect], reference: str, trainings: Mapping[str, Replicates]
) -> dict[str, Effect]:
    """The effects of rows with one reference, by key, each with the variance that it shares with the others, if any. A
    near copy of the reference has no part in it: see `is_near_copy`."""
    like = {key: each for key, each in effects.items() if len(each.differences) > 1 and not each.ended_at_chance}
    near_copies = _near_copies(like, reference, trainings)
    sharing = [key for key in like if key not in near_copies]
    pool = _pool(reference, sharing, trainings)
    return {
        key: replace(effect, pool=pool if key in sharing else None, near_copy=key in near_copies)
        for key, effect in effects.items()
    }


def _near_copies(like: Mapping[str, Effect], reference: str, trainings: Mapping[str, Replicates]) -> set[str]:
    """The keys of the rows that are near copies of their reference (see `is_near_copy`), judged by rows that vary
    alike. A near copy can itself make the variances unequal: then the rows that hardly differ are left out before."""
    errors = trainings[reference].last_errors()
    hardly = {key for key, each in like.items() if hardly_differs(each.differences, [errors[s] for s in each.seeds])}
    pool = _pool(reference, list(like), trainings)
    if pool and not pool.equal_variances:
        pool = _pool(reference, [key for key in like if key not in hardly], trainings)
    if pool is None or not pool.equal_variances:
        return set()
    return {key for key in hardly if is_near_copy(like[key].differences, pool)}


def _tested(effect: Effect) -> Effect:
    """The effect with its tests."""
    if effect.ended_at_chance:
        return effect
    return replace(
        effect,
        tests=t_tests(effect.differences, effect.margin, effect.pool),
        wilcoxon_p=_wilcoxon_p(effect.differences),
    )


@lru_cache(maxsize=4096)  # with ties SciPy takes 0.3 s, and the live page asks again and again
def _wilcoxon_p(differences: tuple[float, ...]) -> float | None:
    """The p value of Wilcoxon's signed-rank test; None where all seeds differ by the same."""
    ranked = np.round(differences, TIE_DECIMALS)  # else rounding errors break ties
    return float(stats.wilcoxon(ranked).pvalue) if np.ptp(ranked) else None


def _crossed(effect: Effect, correct: CorrectImages, reference: CorrectImages) -> Effect:
    """The effect with its interval over new seeds and new images, where the images of a seed are known."""
    known = [seed for seed in effect.seeds if seed in correct and seed in reference]
    if effect.interval is None or not known:
        return effect
    half = crossed_half_width(stacked(correct, known) - stacked(reference, known), effect.interval.half_width)
    return replace(effect, new_images_interval=Interval(effect.mean - half, effect.mean + half), image_seeds=len(known))


def _corrected(family: Sequence[Effect]) -> list[Effect]:
    t_holm = holm([effect.t_p for effect in family])
    equivalence_holm = holm([effect.equivalence_p for effect in family])
    wilcoxon_holm = holm([effect.wilcoxon_p for effect in family])
    return [
        replace(effect, t_holm=t, equivalence_holm=e, wilcoxon_holm=w)
        for effect, t, e, w in zip(family, t_holm, equivalence_holm, wilcoxon_holm, strict=True)
    ]
