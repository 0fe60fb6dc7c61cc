"""Interactions: does the effect of one change depend on another?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean
from typing import Any

from analysis.record.replicates import Replicates
from analysis.statistics.cells import ended_at_chance
from analysis.statistics.effects import ALPHA, MARGIN, holm, judged_on
from analysis.statistics.names import changed_text, reference_names
from analysis.statistics.t_tests import TTests, t_tests
from trainable.config import Config
from trainable.own_code.code_file import ARGUMENTS, Arguments
from trainable.study import ResolvedTable
from trainable.value_text import value_text

OWNERS = {arguments: field for field, arguments in ARGUMENTS.items()}
"""The field of each file's arguments."""

LONGEST_NAME = 60
"""A reference is named after what it changes in the baseline where that has at most so many characters."""


class Dependence(StrEnum):
    """What the tests of an interaction say."""

    DEPENDENT = "dependent"
    """The t-test finds that the effects do not add up."""
    ADDITIVE = "additive"
    """The equivalence test finds that the difference is smaller than the margin, and the t-test finds none."""
    UNDECIDED = "undecided"
    """Neither does, or there are too few seeds for a test."""
    AT_CHANCE = "at chance"
    """One of the four trainings ended there. Then nothing is tested."""


@dataclass(frozen=True)
class Interaction:
    """Two changes of one config, each trained alone and both together, by seed. Means are of the held-out error after
    the last epoch."""

    reference: Config
    """The config without either change."""
    against: str
    """Its name: what it changes in the baseline or, where that is long, the name of its row."""
    change: str
    """One of the changes, as a field with its value."""
    other: str
    """The other one. Which is which makes no difference to `differences`."""
    seeds: tuple[int, ...]
    """Those that all four trainings have, ascending."""
    alone: float
    """The mean effect of the change without the other."""
    with_other: float
    """The mean effect of the change where the other is made, too."""
    differences: tuple[float, ...]
    """By seed: the effect of the change with the other, minus that without it. 0 where the effects add up."""
    ended_at_chance: bool
    """Whether one of the four trainings ended at chance."""
    tests: TTests | None
    """None for fewer than two seeds, too, and where all seeds differ by the same."""
    t_holm: float | None = None
    equivalence_holm: float | None = None

    @property
    def mean(self) -> float:
        """The mean of the differences."""
        return fmean(self.differences)

    @property
    def verdict(self) -> Dependence:
        """What the tests say, each after Holm's correction for all interactions."""
        if self.ended_at_chance:
            return Dependence.AT_CHANCE
        if self.t_holm is not None and self.t_holm < ALPHA:
            return Dependence.DEPENDENT
        if self.equivalence_holm is not None and self.equivalence_holm < ALPHA:
            return Dependence.ADDITIVE
        return Dependence.UNDECIDED


def interactions(
    tables: Sequence[ResolvedTable], trainings: Mapping[str, Replicates], margin: float = MARGIN
) -> list[Interaction]:
    """Of every two changes that are recorded alone and together, whether their effects add up. They are changes of a
    reference or of the first row of one of these tables. Each set of four trainings counts once, and those without a
    common seed not at all.

    The tests are a paired t-test of the differences and the equivalence test against `margin`, as for an effect.
    """
    names = reference_names(tables)
    keys = dict.fromkeys(key for table in tables for key in (table.reference, *(row.key for row in table.rows)))
    known = {key: trainings[key] for key in keys if key in trainings}
    references = dict.fromkeys(
        key for table in tables for key in (table.reference, *(row.key for row in table.rows[:1]))
    )
    found: dict[frozenset[str], Interaction] = {}
    for reference in (known[key] for key in references if key in known):
        for both in known.values():
            changes = _changes(reference.config, both.config)
            if len(changes) != 2 or judged_on(reference) != judged_on(both):
                continue
            # not validated: one of the changes alone may be none that a training can have
            alone = [reference.config.model_copy(update=change) for change in changes.values()]
            first, second = (config.key(reference.fingerprint) for config in alone)
            four = frozenset((reference.key, first, second, both.key))
            if not four <= known.keys() or four in found:
                continue
            if len(against := changed_text(reference.config)) > LONGEST_NAME:
                against = names.get(reference.key, against)
            if made := _interaction(reference, known[first], known[second], both, against, list(changes), margin):
                found[four] = made
    return _corrected(list(found.values()))


def _changes(reference: Config, config: Config) -> dict[str, dict[str, Any]]:
    """What differs in a config, each change in words with the fields that it sets. Another file is one change with its
    arguments; where only these differ, each argument is one."""
    different = {f for f in Config.model_fields if getattr(config, f) != getattr(reference, f)}
    changes: dict[str, dict[str, Any]] = {}
    for field in (field for field in Config.model_fields if field in different):
        owner, value, before = OWNERS.get(field), getattr(config, field), getattr(reference, field)
        if owner in different:
            continue
        if owner and value.keys() == before.keys():
            for name in value:
                changed = Arguments(before | {name: value[name]})
                if changed != before:
                    changes[f"{owner}.{name} {value_text(value[name])}"] = {field: changed}
        else:
            together = [each for each in (field, ARGUMENTS.get(field)) if each in different]
            changes[config.text(together)] = {each: getattr(config, each) for each in together}
    return changes


def _interaction(
    reference: Replicates,
    first: Replicates,
    second: Replicates,
    both: Replicates,
    against: str,
    said: Sequence[str],
    margin: float,
) -> Interaction | None:
    four = (reference, first, second, both)
    neither, one, other, together = (each.last_errors() for each in four)
    seeds = tuple(sorted(neither.keys() & one.keys() & other.keys() & together.keys()))
    if not seeds:
        return None
    at_chance = any(ended_at_chance(each) for each in four)
    alone, with_other = [one[s] - neither[s] for s in seeds], [together[s] - other[s] for s in seeds]
    differences = tuple(there - here for there, here in zip(with_other, alone, strict=True))
    return Interaction(
        reference=reference.config,
        against=against,
        change=said[0],
        other=said[1],
        seeds=seeds,
        alone=fmean(alone),
        with_other=fmean(with_other),
        differences=differences,
        ended_at_chance=at_chance,
        tests=None if at_chance else t_tests(differences, margin),
    )


def _corrected(family: Sequence[Interaction]) -> list[Interaction]:
    tests = [each.tests for each in family]
    t_holm = holm([each.difference_p if each else None for each in tests])
    equivalence_holm = holm([each.equivalence_p if each else None for each in tests])
    return [
        replace(each, t_holm=t, equivalence_holm=e) for each, t, e in zip(family, t_holm, equivalence_holm, strict=True)
    ]
