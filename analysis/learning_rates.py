"""The errors of a network without and with batch norm at several learning rates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from analysis.record.replicates import Replicates
from analysis.statistics.cells import ended_at_chance
from analysis.statistics.t_tests import PairedDifference, paired_difference
from trainable.study import ResolvedTable


class RatePair(NamedTuple):
    """A learning rate for each of two networks, without and with batch norm."""

    plain: float
    normed: float


@dataclass(frozen=True)
class NetworkRates:
    """The held-out errors of a network after the last epoch, at the learning rates that it was trained with."""

    errors: Mapping[float, Mapping[int, float]]
    """By learning rate, in ascending order, and by seed. Each rate has a seed or more."""
    at_chance: tuple[float, ...] = ()
    """The other rates, at which a training ended at chance: a mean with it says nothing of those that learned."""

    @property
    def tried(self) -> list[float]:
        """All rates, also those at which a training ended at chance, ascending."""
        return sorted([*self.errors, *self.at_chance])

    @property
    def shared_seeds(self) -> set[int]:
        """The seeds that all rates have."""
        return set.intersection(*(set(by_seed) for by_seed in self.errors.values()))

    def ranked(self, apart_from: int | None = None) -> list[float]:
        """The rates by their mean error over the seeds that all have, but for one of these; the best first. A rate with
        few seeds would often be lowest by chance."""
        shared = self.shared_seeds - {apart_from}
        return sorted(self.errors, key=lambda rate: fmean(self.errors[rate][s] for s in shared or self.errors[rate]))

    def mean(self, rate: float) -> float:
        """The mean error at a rate over its seeds."""
        return fmean(self.errors[rate].values())


@dataclass(frozen=True)
class RateErrors:
    """The errors of a network without and with batch norm."""

    plain: NetworkRates
    normed: NetworkRates

    @property
    def rates(self) -> list[float]:
        """The learning rates at which either network learned, ascending."""
        return sorted(self.plain.errors.keys() | self.normed.errors.keys())

    @property
    def best(self) -> RatePair:
        """The learning rate of each network with the lowest mean error."""
        return RatePair(self.plain.ranked()[0], self.normed.ranked()[0])

    @property
    def nested(self) -> bool:
        """Whether each seed's rates can be chosen by other seeds: see `best_differences`."""
        return all(len(each.shared_seeds) > 1 for each in (self.plain, self.normed))

    def chosen_for(self, seed: int) -> RatePair:
        """The best rates by the seeds other than this one; by all seeds where it is the only one that all rates
        have."""
        if not self.nested:
            return self.best
        return RatePair(self.plain.ranked(seed)[0], self.normed.ranked(seed)[0])

    @property
    def best_differences(self) -> dict[int, float]:
        """By seed, the error with batch norm minus that without, each network at its best rate. A seed's rates are
        chosen by the other seeds, so that no error both chooses a rate and is measured (Varma and Simon 2006, BMC
        Bioinformatics 7:91)."""
        rates = {seed: self.chosen_for(seed) for by_seed in self.plain.errors.values() for seed in by_seed}
        return {
            seed: self.normed.errors[normed][seed] - self.plain.errors[plain][seed]
            for seed, (plain, normed) in sorted(rates.items())
            if seed in self.plain.errors[plain] and seed in self.normed.errors[normed]
        }

    @property
    def best_difference(self) -> PairedDifference:
        """The same with its test."""
        return PairedDifference(tuple(self.best_differences.values()))

    def difference(self, plain_rate: float, normed_rate: float) -> PairedDifference:
        """The error with batch norm at a learning rate minus that without at another, paired by seed."""
        return paired_difference(self.normed.errors.get(normed_rate, {}), self.plain.errors.get(plain_rate, {}))


def errors_by_rate(
    pair: Sequence[ResolvedTable], tables: Iterable[ResolvedTable], trainings: Mapping[str, Replicates]
) -> RateErrors | None:
    """The errors of the networks of two tables, the second with batch norm, at every learning rate of which any table
    has a trained row that is like them in all else. None unless `pair` has two tables whose trainings learned, and for
    trainings of one epoch, which is too early to say which rate is good."""
    networks = [trainings[table.rows[0].key] for table in pair if table.rows[0].key in trainings]
    if len(networks) != 2 or networks[0].config.epochs == 1:
        return None
    trained = {row.key: trainings[row.key] for table in tables for row in table.rows if row.key in trainings}
    plain, normed = (_network_rates(network, trained.values()) for network in networks)
    return RateErrors(plain, normed) if plain.errors and normed.errors else None


def _network_rates(network: Replicates, trained: Iterable[Replicates]) -> NetworkRates:
    """The errors of the trainings that differ from that of the network in the learning rate alone."""
    alike = {
        each.config.lr: each
        for each in trained
        if each.fingerprint == network.fingerprint and each.config.change(lr=network.config.lr) == network.config
    }
    at_chance = tuple(rate for rate in sorted(alike) if ended_at_chance(alike[rate]))
    errors = {rate: alike[rate].last_errors() for rate in sorted(alike) if rate not in at_chance}
    return NetworkRates({rate: by_seed for rate, by_seed in errors.items() if by_seed}, at_chance)
