"""The search of a sweep, and how far the record has it. No Ray here.

A search runs on protocol B: the validation error decides. It ends after a number of samples or when its budget is
spent; then its best configs race, and the winner is proven on the test split. A search is continued, not repeated:
Optuna is told what the record has of it, and trials that did not finish are tried first.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any

from analysis.record.recorded import PROVEN, TRAINING_S, RunStatus, TrialRecord, ranked
from analysis.search_trials import SearchTrials, at_its_epochs, of_search, search_trials
from sweeps.planning.resolve_search import resolve_search
from trainable.study import Study


@dataclass(frozen=True)
class SearchPlan(SearchTrials):
    """A search, the trials that the record has of it, and what is left to do. Its race is run only when no samples are
    left."""

    other_epochs: tuple[TrialRecord, ...] = ()
    """Complete trials of the space for another number of epochs: a search starts with the best of them, too."""
    outside: int = 0
    """How many trials of this search the record has that lie outside the space, because it was wider once. They are
    left out."""
    budget_s: float = inf
    """Slot seconds that its trials may train, those of the race and the proof apart."""
    proof_seeds: int = 1
    """Seeds of the winner's proof."""
    given_up: Set[str] = frozenset()
    """Keys that this sweep has given up. The next one tries them again."""

    def with_trials(self, trials: Sequence[TrialRecord]) -> "SearchPlan":
        """The same search with its own trials among those of a record, and those that it borrows. Those of an earlier
        training recipe do not count."""
        trials = [trial for trial in trials if trial.is_of_this_recipe]
        found = search_trials(self.search, trials)
        covered = [trial for trial in trials if self.search.covers(trial.config, trial.fingerprint)]
        recorded = [trial for trial in covered if of_search(self.search, trial)]
        return replace(
            self,
            own=found.own,
            borrowed=found.borrowed,
            raced=found.raced,
            other_epochs=tuple(trial for trial in trials if at_its_epochs(self.search, trial)),
            outside=sum(not self.search.contains(trial.config) for trial in recorded),
        )

    def with_histories(self, trials: Iterable[TrialRecord]) -> "SearchPlan":
        """The same with these trials, whose histories were read, in place of those that it knows."""
        read = {trial.run_id: trial for trial in trials}
        return replace(
            self,
            own=tuple(read.get(trial.run_id, trial) for trial in self.own),
            borrowed=tuple(read.get(trial.run_id, trial) for trial in self.borrowed),
        )

    @property
    def claim(self) -> str:
        """The name under which a sweep claims the search, with its race and its proof. It is that of all searches from
        the same base, because they may try the same configs."""
        return f"search/{self.search.base.key(self.search.fingerprint)}"

    @property
    def start(self) -> list[dict[str, Any]]:
        """The parameters' values that the search starts with: those of the best config that the record has for another
        number of epochs, and those of its start points. A good one first lets ASHA stop the others earlier."""
        best = ranked(self.other_epochs)[:1]
        return [
            *(self.search.point(trial.config) for trial in best),
            *(self.search.start_values(point) for point in self.search.start),
        ]

    @property
    def finished(self) -> list[TrialRecord]:
        """Its own trials that ran to the end or were stopped by ASHA, one for each config."""
        return list({trial.key: trial for trial in self.own if trial.status == RunStatus.FINISHED}.values())

    @property
    def judged(self) -> list[TrialRecord]:
        """The trials that the sampler and the scheduler learn from: the finished and the borrowed ones."""
        return list({trial.key: trial for trial in [*self.borrowed, *self.finished]}.values())

    @property
    def unfinished(self) -> list[TrialRecord]:
        """The trials that the search suggested and that have not finished: interrupted, or failed in an earlier sweep.
        They are tried again first."""
        left_out = {trial.key for trial in self.finished} | self.given_up
        return list({trial.key: trial for trial in self.own if trial.key not in left_out}.values())

    @property
    def training_s(self) -> dict[str, float]:
        """Slot seconds that each config of its own has trained, by key. A trial that was interrupted and went on has
        its earlier epochs in its later run."""
        by_key: dict[str, float] = {}
        for trial in self.own:
            by_key[trial.key] = max(by_key.get(trial.key, 0.0), trial.metrics.get(TRAINING_S, 0.0))
        return by_key

    @property
    def spent_s(self) -> float:
        """Slot seconds that its own trials have trained, of `budget_s`."""
        return sum(self.training_s.values())

    @property
    def to_run(self) -> int:
        """How many samples this sweep can still run, at most: those that the record lacks, without those that it gave
        up; 0 where the budget is spent. A countable space has no more of them than configs that no study has
        trained."""
        if self.spent_s >= self.budget_s:
            return 0
        given_up = self.given_up & {trial.key for trial in self.own} - {trial.key for trial in self.finished}
        left, points = max(0, self.search.samples - len(self.finished) - len(given_up)), self.search.points()
        if points is None or left <= len(points) - len(self.taken):  # untried ones take a config for each point
            return left
        return min(left, len(self.untried or ()))

    @cached_property
    def taken(self) -> Set[str]:
        """Keys of the configs that are not tried again: those that are judged or given up."""
        return {trial.key for trial in self.judged} | self.given_up

    @cached_property
    def untried(self) -> dict[str, dict[str, Any]] | None:
        """The points of a countable space that are neither judged nor given up, by the key of their config; None for a
        space that is not countable."""
        if (points := self.search.points()) is None:
            return None
        by_key = {self.search.config(point).key(self.search.fingerprint): point for point in points}
        return {key: point for key, point in by_key.items() if key not in self.taken}

    @property
    def winner(self) -> TrialRecord | None:
        """The winner of the race, as it was searched; None while samples are left, before the race is decided, and
        where no trial is complete."""
        return None if self.to_run else self.race_winner

    @property
    def proven_tag(self) -> str:
        """The tag of its recorded winner: see `PROVEN`."""
        return PROVEN + self.search.study

    @property
    def proven_seeds(self) -> int:
        """How many seeds the recorded proof of its winner has; 0 where none is recorded."""
        return int(self.winner.tags.get(self.proven_tag, 0)) if self.winner else 0

    @property
    def winner_recorded(self) -> bool:
        """Whether all is written of the winner's proof with so many seeds, or there is nothing to write: no trial is
        complete."""
        return self.proven_seeds >= self.proof_seeds or not self.race.racers

    @property
    def complete(self) -> bool:
        """Whether the record has all of it."""
        return self.to_run == 0 and not self.race.to_run and self.winner_recorded


def plan_search(
    study: Study,
    *,
    base: Mapping[str, Any],
    samples: int,
    fingerprint: str,
    trials: Sequence[TrialRecord],
    budget_s: float = inf,
    proof_seeds: int = 1,
    given_up: Set[str] = frozenset(),
) -> SearchPlan:
    """A study's search, resolved on `base` (see `resolve_search`, also for what is raised), with what the record has of
    it."""
    search = resolve_search(study, base=base, samples=samples, fingerprint=fingerprint)
    return SearchPlan(search, budget_s=budget_s, proof_seeds=proof_seeds, given_up=given_up).with_trials(trials)
