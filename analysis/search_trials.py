"""Which of a record's trials belong to a search, and the race of its best configs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.record.recorded import TrialRecord, ranked
from analysis.statistics.race import Standing, race_standing
from trainable.resolved_search import ResolvedSearch


@dataclass(frozen=True)
class SearchTrials:
    """The trials of a record that lie in a search's space."""

    own: tuple[TrialRecord, ...]
    """The search's own, for its own seeds."""
    borrowed: tuple[TrialRecord, ...]
    """Complete ones of other studies for the same seeds, as those of a calibration are."""
    raced: tuple[TrialRecord, ...]
    """Complete ones for other seeds."""


def search_trials(search: ResolvedSearch, trials: Iterable[TrialRecord]) -> SearchTrials:
    """Sort out a search's trials, in the order given."""
    own: list[TrialRecord] = []
    borrowed: list[TrialRecord] = []
    raced: list[TrialRecord] = []
    for trial in trials:
        if not (owned(search, trial) and search.contains(trial.config)):
            continue
        if trial.seeds == search.seeds and of_study(search, trial):
            own.append(trial)
        elif trial.complete:
            (borrowed if trial.seeds == search.seeds else raced).append(trial)
    return SearchTrials(tuple(own), tuple(borrowed), tuple(raced))


def owned(search: ResolvedSearch, trial: TrialRecord) -> bool:
    """Whether a trial is one of a search's, inside of its space or not: see `ResolvedSearch.owns`."""
    return search.owns(trial.config, trial.fingerprint)


def of_study(search: ResolvedSearch, trial: TrialRecord) -> bool:
    """Whether a trial was recorded under the search's study."""
    return trial.studies == [search.study]


def search_race(search: ResolvedSearch, searched: Iterable[TrialRecord], raced: Sequence[TrialRecord]) -> Standing:
    """The race of the best of the configs that were `searched`, as far as the trials for further seeds go."""
    candidates = ranked(searched)[: search.race.candidates]
    return race_standing(search.race, candidates, raced, search.seeds)
