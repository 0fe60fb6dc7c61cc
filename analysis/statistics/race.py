"""The race of a search's best configs: they train for further seeds, and those that cannot win are dropped on the way.

The seed that a config was searched with does not count in it: the best of many configs on one seed are partly lucky.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis.record.recorded import VAL_ERROR, TrialRecord, errors_by_seed
from analysis.statistics.t_tests import paired_t_p
from trainable.config import Config
from trainable.search_definition import Race


@dataclass(frozen=True)
class Racer:
    """A config in the race."""

    key: str
    name: str
    config: Config
    errors: dict[int, float]
    """The recorded validation error after the last epoch by seed of the race."""
    p: float | None = None
    """The p value of the test against the leader that dropped it; None where it was not dropped."""

    @property
    def dropped(self) -> bool:
        """Whether a test has dropped it."""
        return self.p is not None

    def mean(self, seeds: Iterable[int]) -> float:
        """The mean error over these seeds."""
        errors = [self.errors[seed] for seed in seeds]
        return sum(errors) / len(errors)


@dataclass(frozen=True)
class Standing:
    """How far a race is."""

    racers: tuple[Racer, ...]
    seeds: tuple[int, ...]
    """The seeds of the present round, which every config that is not dropped is trained for."""
    to_run: dict[str, tuple[int, ...]]
    """The seeds of the round that the record lacks, by key. Empty where the race is decided."""

    @property
    def winner(self) -> Racer | None:
        """The config with the lowest mean error over the seeds, among those that were not dropped; None before the race
        is decided."""
        if self.to_run or not self.racers:
            return None
        return min((racer for racer in self.racers if not racer.dropped), key=lambda racer: racer.mean(self.seeds))

    @property
    def winning_errors(self) -> list[float]:
        """The winner's errors by seed; empty before there is one."""
        winner = self.winner
        return [winner.errors[seed] for seed in self.seeds] if winner else []


def race_standing(
    race: Race, candidates: Sequence[TrialRecord], trials: Sequence[TrialRecord], searched: Sequence[int]
) -> Standing:
    """Race the candidates as far as the record's complete trials go. `searched` are the seeds that do not count.

    After `race.first_test` seeds, and after each further one up to `race.seeds`, a one-sided paired t-test compares
    each config with the leader; one whose p is below `race.alpha` is dropped. This is F-Race (Birattari et al. 2002,
    GECCO) with the t-test that irace (Lopez-Ibanez et al. 2016, section 3) offers for comparing means.
    """
    racers = [
        Racer(each.key, each.name, each.config, errors_by_seed(trials, each.key, VAL_ERROR)) for each in candidates
    ]
    counted = [seed for seed in range(race.seeds + len(searched)) if seed not in searched]
    seeds: tuple[int, ...] = ()
    for count in range(race.first_test, race.seeds + 1):
        seeds = tuple(counted[:count])
        running = [racer for racer in racers if not racer.dropped]
        missing = {racer.key: tuple(seed for seed in seeds if seed not in racer.errors) for racer in running}
        if to_run := {key: lacking for key, lacking in missing.items() if lacking}:
            return Standing(tuple(racers), seeds, to_run)
        leader = min(running, key=lambda racer: racer.mean(seeds), default=None)
        racers = [_tested(racer, leader, seeds, race.alpha) if leader else racer for racer in racers]
        if sum(not racer.dropped for racer in racers) <= 1:
            break
    return Standing(tuple(racers), seeds, {})


def _tested(racer: Racer, leader: Racer, seeds: Sequence[int], alpha: float) -> Racer:
    """The racer, dropped where the test finds it behind the leader."""
    if racer.dropped or racer is leader:
        return racer
    p = behind_p(racer.errors, leader.errors, seeds)
    return racer if p is None or p >= alpha else replace(racer, p=p)


def behind_p(errors: dict[int, float], better: dict[int, float], seeds: Iterable[int]) -> float | None:
    """The p value of the one-sided paired t-test that `errors` are not above `better` on these seeds; None where all
    seeds differ by the same, and for fewer than two."""
    return paired_t_p([errors[seed] - better[seed] for seed in seeds], "greater")
