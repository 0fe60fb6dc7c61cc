"""How long a search takes: its trials, then its race, then its winner's proof."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from math import ceil, isinf
from statistics import fmean

from pydantic import BaseModel

from sweeps.planning.rates import Rates, makespan
from sweeps.planning.search_plan import SearchPlan
from trainable.config import Config, Protocol
from trainable.search_space import fields, sample

ASHA_SHARE = 0.5
"""Share of all the epochs that a search under ASHA trains, about, where its first rung is not later; the forecast's
assumption."""
DRAWN = 32
"""Random networks of a space, of which the mean time is the forecast's."""
DRAWN_OF_OWN = 4
"""The same of networks of one's own, each of which has to be built for it."""


class SearchForecast(BaseModel):
    """What a search will do, and how long that takes. Seconds are wall seconds on the slots, unless said otherwise."""

    samples: int
    recorded: int
    to_run: int
    outside: int
    """Recorded trials that the space does not contain any more; they are left out."""
    budget_left_s: float | None = None
    """What the budget leaves; None where there is no budget."""
    forecast_s: float
    race_s: float
    """The race at most, as though no config were dropped."""
    proof_s: float
    """The winner's training for its proof, before it is known. After that it is among the tables."""
    differences_s: float
    """What undoing each of the winner's changes takes, before it is known: as many as the start point has that has
    most."""
    slot_s: float
    """Slot seconds of all four."""
    stages: int
    """How often workers start for them: the race has a round for each of its tests."""

    @property
    def wall_s(self) -> float:
        """All four, one after the other."""
        return self.forecast_s + self.race_s + self.proof_s + self.differences_s


def forecast_search(
    plan: SearchPlan, rates: Rates, slots: int, *, difference_seeds: Sequence[int] = ()
) -> SearchForecast:
    """Forecast a search on that many slots. `difference_seeds` are the seeds for which each of the winner's differences
    will be trained, while it is not known."""
    trainings = _Trainings(plan, rates)
    budget_left = max(0.0, plan.budget_s - plan.spent_s)
    searched = trainings.of_search(budget_left)
    whole = trainings.of_seeds([1]) if searched else []  # however many slots there are, one trial runs to its end
    rounds = [trainings.of_seeds(seeds) for seeds in _race_rounds(plan)]
    proof = [] if plan.winner or plan.complete else trainings.of_seeds([plan.proof_seeds], protocol="A")
    differences = trainings.of_seeds(difference_seeds, protocol="A")
    stages = [searched, *rounds, proof, differences]
    return SearchForecast(
        samples=plan.search.samples,
        recorded=len(plan.finished),
        to_run=plan.to_run,
        outside=plan.outside,
        budget_left_s=None if isinf(budget_left) else round(budget_left / slots, 1),
        forecast_s=round(max(makespan(searched, slots), makespan(whole, slots)), 1),
        race_s=round(sum(makespan(each, slots) for each in rounds), 1),
        proof_s=round(makespan(proof, slots), 1),
        differences_s=round(makespan(differences, slots), 1),
        slot_s=round(sum(map(sum, stages)), 1),
        stages=sum(map(bool, stages)),
    )


class _Trainings:
    """The slot seconds of each trial."""

    def __init__(self, plan: SearchPlan, rates: Rates) -> None:
        self._plan, self._rates = plan, rates

    def of_search(self, budget_left: float) -> list[float]:
        """ASHA stops most trials, so each is taken to cost `ASHA_SHARE` of a whole in the mean, and at least the epochs
        before the first rung. A trial that has begun before the budget is spent goes on."""
        search = self._plan.search
        each = max(ASHA_SHARE, search.rungs[0] / search.base.epochs) * self._training_s(1)
        return [each] * ceil(min(budget_left / each, self._plan.to_run))

    def of_seeds(self, seeds: Iterable[int], protocol: Protocol = "B") -> list[float]:
        """For each config the number of seeds that it is trained for."""
        if self._rates.fuses_seeds(self._plan.search.base):
            return [self._training_s(count, protocol) for count in seeds]
        return [self._training_s(1, protocol)] * sum(seeds)

    def _training_s(self, seeds: int, protocol: Protocol = "B") -> float:
        return fmean(self._rates.training_s(config.change(protocol=protocol), seeds) for config in self._networks)

    @cached_property
    def _networks(self) -> list[Config]:
        """Of each network whose time counts a config: random ones where the space varies the network."""
        search = self._plan.search
        if not fields(search.space) & {"network", "network_arguments", "channels", "hidden", "batch_norm"}:
            return [search.base]
        drawn = DRAWN_OF_OWN if search.base.has_own_network else DRAWN
        return [search.config(values) for values in sample(search.space, drawn, seed=0)]


def _race_rounds(plan: SearchPlan) -> list[list[int]]:
    """Round by round, how many seeds each config is still trained for, as though nobody were dropped any more."""
    race, standing = plan.search.race, plan.race
    if plan.to_run:  # others may race then
        first, racing, trained = [race.first_test] * race.candidates, race.candidates, race.first_test
    elif standing.to_run:
        first, trained = [len(seeds) for seeds in standing.to_run.values()], len(standing.seeds)
        racing = sum(not racer.dropped for racer in standing.racers)
    else:
        return []
    return [first, *([1] * racing for _ in range(race.seeds - trained))]
