"""A search with those of a record's trials that belong to it, and the race of its best configs."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from analysis.record.recorded import TABLE, TrialRecord, ranked
from analysis.statistics.race import Standing, race_standing
from trainable.config import Config
from trainable.resolved_search import ResolvedSearch


@dataclass(frozen=True)
class SearchTrials:
    """A search and the trials of a record that lie in its space."""

    search: ResolvedSearch
    own: tuple[TrialRecord, ...] = ()
    """The search's own, for its own seeds."""
    borrowed: tuple[TrialRecord, ...] = ()
    """Complete ones of other studies for the same seeds, as those of a calibration are. The sampler learns from them,
    and one of them can win, but they are not among the search's samples."""
    raced: tuple[TrialRecord, ...] = ()
    """Complete ones for other seeds: the race is decided by them."""

    @property
    def known(self) -> list[TrialRecord]:
        """Its own trials and the borrowed ones."""
        return [*self.own, *self.borrowed]

    @cached_property
    def race(self) -> Standing:
        """The race of the best configs, as far as it is recorded."""
        candidates = ranked(self.known)[: self.search.race.candidates]
        return race_standing(self.search.race, candidates, self.raced, self.search.seeds)

    @property
    def race_winner(self) -> TrialRecord | None:
        """The winner of the race, as it was searched; None before it is decided."""
        racer = self.race.winner
        return next((trial for trial in ranked(self.known) if racer and trial.key == racer.key), None)


def search_trials(search: ResolvedSearch, trials: Iterable[TrialRecord]) -> SearchTrials:
    """Sort out a search's trials, in the order given."""
    own: list[TrialRecord] = []
    borrowed: list[TrialRecord] = []
    raced: list[TrialRecord] = []
    for trial in trials:
        if not (search.covers(trial.config, trial.fingerprint) and search.contains(trial.config)):
            continue
        if trial.seeds == search.seeds and of_search(search, trial):
            own.append(trial)
        elif trial.complete:
            (borrowed if trial.seeds == search.seeds else raced).append(trial)
    return SearchTrials(search, tuple(own), tuple(borrowed), tuple(raced))


def at_its_epochs(search: ResolvedSearch, trial: TrialRecord) -> Config | None:
    """The config of a complete trial for another number of epochs than a search's, with the search's number in its
    place; None for another trial, and where the search's space does not have that config."""
    epochs = search.base.epochs
    if not trial.complete or trial.config.epochs == epochs:
        return None
    config = trial.config.change(epochs=epochs)
    return config if search.covers(config, trial.fingerprint) and search.contains(config) else None


def of_search(search: ResolvedSearch, trial: TrialRecord) -> bool:
    """Whether a trial was recorded as one of the search, and not of a table of the same study."""
    return trial.studies == [search.study] and trial.tags.get(TABLE) == search.study
