"""The errors of a network without and with batch norm at several learning rates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from analysis.record.replicates import Replicates
from analysis.statistics.cells import ended_at_chance
from analysis.statistics.intervals import mean_text, seed_count
from analysis.statistics.t_tests import PairedDifference, p_text, paired_difference, paired_t_p, t_tests
from analysis.writing.words import listed
from trainable.config import Config
from trainable.study import ResolvedTable

ByRate = dict[float, dict[int, float]]
"""Errors by learning rate, in ascending order, and by seed. Each rate has a seed or more."""


class RatePair(NamedTuple):
    """A learning rate for each of two networks, without and with batch norm."""

    plain: float
    normed: float


@dataclass(frozen=True)
class RateErrors:
    """The held-out errors after the last epoch of a network without and with batch norm."""

    plain: ByRate
    normed: ByRate
    plain_at_chance: tuple[float, ...] = ()
    """The other rates, at which a training ended at chance: a mean with it says nothing of those that learned."""
    normed_at_chance: tuple[float, ...] = ()

    @property
    def tried(self) -> tuple[list[float], list[float]]:
        """All rates of each network, also those at which a training ended at chance, ascending."""
        return sorted([*self.plain, *self.plain_at_chance]), sorted([*self.normed, *self.normed_at_chance])

    @property
    def rates(self) -> list[float]:
        """The learning rates at which either network learned, ascending."""
        return sorted(self.plain.keys() | self.normed.keys())

    @property
    def best(self) -> RatePair:
        """The learning rates with the lowest mean error over the seeds that all rates of the network have. A rate with
        few seeds would often be lowest by chance."""
        return RatePair(_ranked(self.plain)[0], _ranked(self.normed)[0])

    @property
    def nested(self) -> bool:
        """Whether each seed's rates can be chosen by other seeds: see `best_difference`."""
        return all(len(_shared(errors)) > 1 for errors in (self.plain, self.normed))

    def chosen_for(self, seed: int) -> RatePair:
        """The best rates by the seeds other than this one; by all seeds where it is the only one that all rates
        have."""
        if not self.nested:
            return self.best
        return RatePair(_ranked(self.plain, seed)[0], _ranked(self.normed, seed)[0])

    @property
    def best_difference(self) -> dict[int, float]:
        """By seed, the error with batch norm minus that without, each network at its best rate. A seed's rates are
        chosen by the other seeds, so that no error both chooses a rate and is measured (Varma and Simon 2006, BMC
        Bioinformatics 7:91)."""
        rates = {seed: self.chosen_for(seed) for errors in self.plain.values() for seed in errors}
        return {
            seed: self.normed[normed][seed] - self.plain[plain][seed]
            for seed, (plain, normed) in sorted(rates.items())
            if seed in self.plain[plain] and seed in self.normed[normed]
        }

    def difference(self, plain_rate: float, normed_rate: float) -> PairedDifference:
        """The error with batch norm at a learning rate minus that without at another, paired by seed."""
        return paired_difference(self.normed.get(normed_rate, {}), self.plain.get(plain_rate, {}))


def errors_by_rate(
    pair: Sequence[ResolvedTable], tables: Iterable[ResolvedTable], trainings: Mapping[str, Replicates]
) -> RateErrors | None:
    """The errors of the networks of two tables, the second with batch norm, at every learning rate of which any table
    has a trained row that is like them in all else. None unless `pair` has two tables whose trainings learned, and for
    trainings of one epoch, which is too early to say which rate is good."""
    if len(pair) != 2 or pair[0].rows[0].config.epochs == 1:
        return None
    trained = [(row.config, trainings[row.key]) for table in tables for row in table.rows if row.key in trainings]
    (plain, plain_at_chance), (normed, normed_at_chance) = (_by_rate(table.rows[0].config, trained) for table in pair)
    return RateErrors(plain, normed, plain_at_chance, normed_at_chance) if plain and normed else None


def best_rates(errors: RateErrors) -> str:
    """The learning rates of `best`, in words."""
    plain, normed = errors.tried
    if plain == normed:
        return f"the best of {len(plain)} learning rates for each network"
    return f"the best learning rate for each network, of {len(plain)} without batch norm and {len(normed)} with it"


def best_difference_text(errors: RateErrors) -> str:
    """`RateErrors.best_difference` with its t-test. Empty where the two share no seed."""
    return _difference_text(tuple(errors.best_difference.values()))


def best_rates_text(errors: RateErrors, error: str) -> str:
    """What batch norm does to the error where each network has its best learning rate, in sentences."""
    plain, normed = errors.best
    paired = best_difference_text(errors)
    difference = f": a difference of {paired}" if paired else ""
    ends = [
        f" The best rate {network} batch norm is the {'lowest' if best == min(tried) else 'highest'} that was tried: a "
        f"{'lower' if best == min(tried) else 'higher'} one may be better still."
        for network, best, tried in zip(("without", "with"), errors.best, errors.tried, strict=True)
        if len(tried) > 1 and best in (min(tried), max(tried))
    ]
    return (
        f"At {best_rates(errors)}, the {error} is {_mean(errors.plain, plain):.4f} without batch norm ({plain:g}) and "
        f"{_mean(errors.normed, normed):.4f} with it ({normed:g}){difference}.{''.join(ends)}"
    )


def next_best_text(errors: RateErrors) -> str:
    """What the difference would be with the next best rate of the network with batch norm, in a sentence. Empty where
    there is no other, and where the two share no seed."""
    if len(errors.normed) < 2:
        return ""
    rate = _ranked(errors.normed)[1]
    difference = _difference_text(errors.difference(errors.best.plain, rate).values)
    return f"With the next best rate with batch norm, {rate:g}, the difference is {difference}." if difference else ""


def same_rates_text(errors: RateErrors, error: str) -> str:
    """At which learning rates batch norm lowers the mean error and at which it raises it, in a sentence. Empty where
    the networks share fewer than two rates with a seed of both."""
    compared = {rate: errors.difference(rate, rate).values for rate in errors.rates}
    means = {rate: fmean(values) for rate, values in compared.items() if values}
    if len(means) < 2:
        return ""
    lower, higher = (
        [f"{rate:g} ({mean:+.4f})" for rate, mean in means.items() if is_so(mean)]
        for is_so in (lambda mean: mean < 0, lambda mean: mean >= 0)
    )
    changes = [(changed, rates) for changed, rates in (("lowers", lower), ("raises", higher)) if rates]
    said = [
        f"{changed} {f'the mean {error}' if index == 0 else 'it'} at {listed(rates)}"
        for index, (changed, rates) in enumerate(changes)
    ]
    return f"With the same rate for both networks, batch norm {listed(said)}."


def choice_text(errors: RateErrors, margin: float) -> str:
    """How the best rates were chosen, and whether the difference there is surely smaller than the margin, in
    sentences."""
    plain, normed = (len(_shared(each)) for each in (errors.plain, errors.normed))
    left_out = [
        f"{rate:g} {network} it"
        for network, rates in (("without", errors.plain_at_chance), ("with", errors.normed_at_chance))
        for rate in rates
    ]
    said = (
        "The best rate of a network has the lowest mean error over the seeds that all its rates have "
        f"({plain} without batch norm, {normed} with it)."
        + (f" A training ended at chance at {listed(left_out)}: these rates are left out." if left_out else "")
    )
    if not errors.nested:
        return f"{said} That choice makes both errors a little too low, and may shift their difference either way."
    same = {errors.chosen_for(seed) for seed in errors.best_difference} == {errors.best}
    tests = t_tests(list(errors.best_difference.values()), margin)
    return (
        f"{said} That choice makes the two errors a little too low. For the difference, each seed's rates are chosen "
        f"without that seed, which changes {'no choice' if same else 'some choices'}."
        + (f" That it is smaller than {margin:g} has p {p_text(tests.equivalence_p)}, not corrected." if tests else "")
    )


def spans_text(errors: RateErrors, error: str) -> str:
    """How far the errors lie apart at the learning rates that both networks have, in a sentence; empty where these are
    not two at least."""
    both = sorted(errors.plain.keys() & errors.normed.keys())
    if len(both) < 2:
        return ""
    plain, normed = (
        max(means) - min(means)
        for means in ([_mean(each, rate) for rate in both] for each in (errors.plain, errors.normed))
    )
    return (
        f"Between the best and the worst of the rates with which both learned, {both[0]:g} to {both[-1]:g}, the "
        f"{error} differs by {plain:.4f} without batch norm and by {normed:.4f} with it."
    )


def _difference_text(values: Sequence[float]) -> str:
    """The mean of paired differences with its interval, the number of seeds and the t-test; empty for none."""
    if not values:
        return ""
    p = paired_t_p(values, "two-sided")
    tested = "" if p is None else f", p {p_text(p)}, not corrected"
    return f"{mean_text(values, '+.4f')} ({seed_count(len(values))}{tested})"


def _by_rate(network: Config, trained: Iterable[tuple[Config, Replicates]]) -> tuple[ByRate, tuple[float, ...]]:
    """The errors of the network at each rate, and the other rates, at which a training ended at chance."""
    of_it = {config.lr: training for config, training in trained if config.change(lr=network.lr) == network}
    at_chance = tuple(rate for rate in sorted(of_it) if ended_at_chance(of_it[rate]))
    errors = {rate: of_it[rate].last_errors() for rate in sorted(of_it) if rate not in at_chance}
    return {rate: by_seed for rate, by_seed in errors.items() if by_seed}, at_chance


def _shared(errors: ByRate) -> set[int]:
    """The seeds that all rates have."""
    return set.intersection(*(set(by_seed) for by_seed in errors.values()))


def _ranked(errors: ByRate, apart_from: int | None = None) -> list[float]:
    """The rates by their mean error over the seeds that all have, but for one of these; the best first."""
    shared = _shared(errors) - {apart_from}
    return sorted(errors, key=lambda rate: fmean(errors[rate][seed] for seed in shared or errors[rate]))


def _mean(errors: ByRate, rate: float) -> float:
    """The mean over the seeds."""
    return fmean(errors[rate].values())
