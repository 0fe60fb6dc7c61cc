"""The recorded searches: the definition of each, its trials and what they found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution

from analysis.record.recorded import (
    EPOCH_S,
    REFERENCE,
    VAL_ERROR,
    WINNER_METRIC,
    RunStatus,
    SweepRecord,
    TrialRecord,
    ranked,
)
from analysis.search_trials import SearchTrials, at_its_epochs, of_search, search_trials
from analysis.writing.words import counted
from trainable.config import Config
from trainable.resolved_search import ResolvedSearch


class Origin(StrEnum):
    """Where the config of a search's trial comes from."""

    START_POINT = "start point"
    """One of the points that a definition of the search tells it to start from."""
    OTHER_EPOCHS = "other epochs"
    """A training for another number of epochs: a search starts from the best of these, too."""
    SAMPLER = "sampler"


@dataclass(frozen=True)
class RecordedSearch(SearchTrials):
    """A search and the trials that its definition covers, oldest first. Its own ran to their last epoch, or the
    scheduler stopped them."""

    running: tuple[TrialRecord, ...] = ()
    """Its own that have not ended, of sweeps that run."""
    left_out: int = 0
    """How many trials of the same study are of another definition, outside this one's space, or of an earlier training
    recipe."""
    tested: tuple[TrialRecord, ...] = ()
    """Trials whose test error was read as that of a winner: of this search, by whatever definition, and of others on
    the same data."""
    definitions: tuple[ResolvedSearch, ...] = ()
    """All that sweeps have recorded of this search, oldest first."""
    of_other_epochs: Mapping[Config, int] = field(default_factory=dict)
    """When each config of the space was first trained for another number of epochs, in milliseconds since 1970. The
    config has this search's number in its place: see `at_its_epochs`."""

    @property
    def complete(self) -> list[TrialRecord]:
        """The trials that ran to their last epoch."""
        return [trial for trial in self.own if trial.complete]

    @cached_property
    def best(self) -> TrialRecord | None:
        """The complete trial with the lowest validation error, borrowed ones included: these can win, too."""
        return next(iter(ranked(self.known)), None)

    @cached_property
    def winner(self) -> TrialRecord | None:
        """The winner of the race, as it was searched; before it is decided, the complete trial with the lowest
        validation error."""
        return self.race_winner or self.best

    @property
    def earlier_winners(self) -> list[TrialRecord]:
        """The other winners, of this search or of another one, that had been searched before this search's last
        trial: their test errors may have been known."""
        last = max((trial.start_time for trial in self.own), default=0)
        winner = self.winner.key if self.winner else ""
        return [trial for trial in self.tested if trial.key != winner and trial.start_time < last]

    @property
    def marked_start_point(self) -> TrialRecord | None:
        """The trial of the start point whose error is shown beside the winner's: see `StartPoint.reference`."""
        return next((trial for trial in self.own if REFERENCE in trial.tags), None)

    @property
    def first_rung(self) -> int:
        """The epoch after which the scheduler first compares trials."""
        return self.search.rungs[0]

    @property
    def stopped_elsewhere(self) -> list[int]:
        """The last epochs of the trials that the scheduler stopped where this definition has no rung."""
        stopped = [val_errors(trial)[-1][0] for trial in self.own if not trial.complete and val_errors(trial)]
        return [epoch for epoch in stopped if epoch not in self.search.rungs]

    @cached_property
    def at_first_rung(self) -> list[TrialRecord]:
        """The trials that reached the first rung."""
        return [trial for trial in self.own if self.first_rung in dict(val_errors(trial))]

    def first_rung_error(self, trial: TrialRecord) -> float:
        """The validation error with which one of these reached it."""
        return dict(val_errors(trial))[self.first_rung]

    @cached_property
    def varied(self) -> dict[str, BaseDistribution]:
        """The parameters in which the trials differ, in the space's order and in Optuna's form."""
        points = [self._points[trial.key] for trial in self.own]
        tried = {name: [point[name] for point in points if name in point] for name in self.search.space}
        return {
            name: parameter.distribution for name, parameter in self.search.space.items() if len(set(tried[name])) > 1
        }

    @cached_property
    def start_points(self) -> frozenset[Config]:
        """The configs that a definition of the search tells it to start from."""
        return frozenset(
            definition.config(definition.start_values(point))
            for definition in (self.search, *self.definitions)
            for point in definition.start
        )

    def origin(self, trial: TrialRecord) -> Origin:
        """Where the config of one of its trials comes from."""
        if trial.config in self.start_points:
            return Origin.START_POINT
        was_trained = self.of_other_epochs.get(trial.config, trial.start_time) < trial.start_time
        return Origin.OTHER_EPOCHS if was_trained else Origin.SAMPLER

    def value(self, trial: TrialRecord, name: str) -> Any:
        """The value of a parameter in a trial; None where the parameter does not exist there."""
        return self._points[trial.key].get(name)

    @cached_property
    def _points(self) -> dict[str, dict[str, Any]]:
        """The parameters' values of each trial, by key."""
        return {trial.key: self.search.point(trial.config) for trial in self.known}

    @property
    def description(self) -> str:
        """How many trials there are, on what data, for how long and with which seeds."""
        config, seeds = self.search.base, self.search.seeds
        return (
            f"{counted(len(self.own) + len(self.running), 'trial')} on {config.data}, "
            f"{counted(config.epochs, 'epoch')}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        )


def recorded_searches(sweeps: Sequence[SweepRecord], trials: Sequence[TrialRecord]) -> list[RecordedSearch]:
    """The searches that sweeps (oldest first) have recorded, with their trials.

    If a study has several definitions, the one with the most trials is used, and among equals the latest: a short try
    must not hide a finished search.
    """
    chosen: dict[str, RecordedSearch] = {}
    definitions = [search for sweep in sweeps for search in sweep.searches]
    finished = [trial for trial in trials if trial.status == RunStatus.FINISHED]
    alive = {sweep.run_id for sweep in sweeps if sweep.status == RunStatus.RUNNING}
    running = [trial for trial in trials if trial.status == RunStatus.RUNNING and trial.sweep in alive]
    of_this_recipe = [trial for trial in finished if trial.is_of_this_recipe]
    winners = [trial for trial in finished if WINNER_METRIC in trial.metrics]
    for search in definitions:
        if search.study in chosen and chosen[search.study].search == search:
            continue
        found = search_trials(search, of_this_recipe)
        if search.study not in chosen or len(found.own) >= len(chosen[search.study].own):
            of_it = {trial.run_id for trial in finished if of_search(search, trial)}
            chosen[search.study] = RecordedSearch(
                search,
                found.own,
                found.borrowed,
                found.raced,
                running=search_trials(search, running).own,
                left_out=len(of_it - {trial.run_id for trial in (*found.own, *found.raced)}),
                tested=tuple(trial for trial in winners if trial.fingerprint == search.fingerprint),
                definitions=tuple(each for each in definitions if each.study == search.study),
                of_other_epochs=_of_other_epochs(search, of_this_recipe),
            )
    return list(chosen.values())


def _of_other_epochs(search: ResolvedSearch, trials: Iterable[TrialRecord]) -> dict[Config, int]:
    first: dict[Config, int] = {}
    for trial in trials:
        if config := at_its_epochs(search, trial):
            first[config] = min(first.get(config, trial.start_time), trial.start_time)
    return first


def undefined_searches(sweeps: Sequence[SweepRecord], trials: Iterable[TrialRecord]) -> dict[str, int]:
    """How many trials the record has of each study that no sweep has recorded, neither as tables nor as a search.

    They are the trials of searches that ran before sweeps recorded their definitions. The tag of a trial that several
    studies share names them all, with commas between.
    """
    known = {table.study for sweep in sweeps for table in sweep.tables}
    known |= {search.study for sweep in sweeps for search in sweep.searches}
    counts: dict[str, int] = {}
    for trial in trials:
        for study in trial.studies:
            if study not in known:
                counts[study] = counts.get(study, 0) + 1
    return counts


def val_errors(trial: TrialRecord) -> list[tuple[int, float]]:
    """The validation error by epoch; empty where none is recorded."""
    return trial.histories.get(VAL_ERROR, [])


def training_seconds(trial: TrialRecord) -> float:
    """The time that the trial's epochs took."""
    return sum(seconds for _, seconds in trial.histories.get(EPOCH_S, []))
