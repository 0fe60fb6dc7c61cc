"""The search of a sweep, and how far the record has it. No Ray here.

A search runs on protocol B: the validation error decides, and the test split is read once, for the winner. A search is
continued, not repeated: Optuna is told what the record has of it, and trials that did not finish are tried first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.record import WINNER_METRIC, TrialRecord, best_of
from sweeps.errors import UsageError
from sweeps.planning.rates import Rates
from sweeps.planning.table_plan import make_config
from trainable.search_definition import PROTOCOL, ResolvedSearch
from trainable.search_space import fields
from trainable.study import Study

SAMPLER = "Optuna's TPE, multivariate, grouped by the conditions of the space, with a constant liar"
SEED = 0
"""Every config of a search is trained for this seed alone."""
ASHA_SHARE = 0.5
"""Share of all the epochs that a search under ASHA trains, about; the forecast's assumption."""


@dataclass(frozen=True)
class SearchPlan:
    """A search and the trials that the record has of it."""

    search: ResolvedSearch
    known: tuple[TrialRecord, ...] = ()
    """The record's trials of this search."""
    outside: int = 0
    """How many more the record has that lie outside the space, because it was wider once. They are left out."""
    borrowed: tuple[TrialRecord, ...] = ()
    """Complete trials of other studies that lie in the space, as those of a calibration do. The search learns from
    them, and one of them can win, but they are not among its samples."""

    def with_trials(self, trials: Iterable[TrialRecord]) -> "SearchPlan":
        """The same search with its own trials among those of a record, and those that it borrows."""
        of_space = [
            trial
            for trial in trials
            if trial.seeds == self.search.seeds
            and self.search.owns(trial.config, trial.tags.get("data_fingerprint", ""))
        ]
        own = [trial for trial in of_space if trial.tags.get("study") == self.search.study]
        known = tuple(trial for trial in own if self.search.contains(trial.config))
        borrowed = tuple(
            trial for trial in of_space if trial not in own and trial.complete and self.search.contains(trial.config)
        )
        return replace(self, known=known, outside=len(own) - len(known), borrowed=borrowed)

    @property
    def read(self) -> list[TrialRecord]:
        """All trials that the search knows: its own and the borrowed ones."""
        return [*self.known, *self.borrowed]

    @property
    def judged(self) -> list[TrialRecord]:
        """The trials that the sampler and the scheduler learn from, one for each config."""
        return list({trial.key: trial for trial in [*self.borrowed, *self.finished]}.values())

    @property
    def finished(self) -> list[TrialRecord]:
        """The trials that ran to the end or were stopped by ASHA."""
        return list({trial.key: trial for trial in self.known if trial.status == "FINISHED"}.values())

    @property
    def unfinished(self) -> list[TrialRecord]:
        """The trials that the search suggested and that have not finished: interrupted or failed. They are tried again
        first."""
        finished = {trial.key for trial in self.finished}
        return list({trial.key: trial for trial in self.known if trial.key not in finished}.values())

    @property
    def to_run(self) -> int:
        """How many samples the record lacks. A space has no more of them than configs."""
        points = self.search.points()
        samples = self.search.samples if points is None else min(self.search.samples, len(points))
        return max(0, samples - len(self.finished))

    def wall_s(self, rates: Rates, slots: int) -> float:
        """Wall seconds of what is to run. ASHA stops most trials, so each is taken to cost `ASHA_SHARE` of a whole."""
        return self.to_run * ASHA_SHARE * rates.training_s(self.search.base, 1) / slots

    @property
    def best(self) -> TrialRecord | None:
        """See `best_of`."""
        return best_of(self.judged)

    @property
    def winner_recorded(self) -> bool:
        """Whether the best trial's test error has been read, or there is no best trial yet."""
        return self.best is None or WINNER_METRIC in self.best.metrics

    @property
    def complete(self) -> bool:
        """Whether the record has all of it."""
        return self.to_run == 0 and self.winner_recorded


def plan_search(
    study: Study, *, base: Mapping[str, Any], samples: int, fingerprint: str, trials: Sequence[TrialRecord]
) -> SearchPlan:
    """A study's search on that base, with what the record has of it.

    Raises `UsageError` where what the sweep changes or what the search fixes does not go together with its space.
    """
    definition = study.search
    assert definition is not None, f"study {study.name} has no search"
    fixed = {**PROTOCOL, **definition.fixed}
    if changed := (base.keys() & {*fields(definition.space), *fixed}):
        raise UsageError(f"--set {min(changed)}: the search of study {study.name} decides it")
    for change in definition.configs_to_check():
        make_config({**fixed, **change}, base, f"study {study.name}, its search space")
    resolved = ResolvedSearch(
        study=study.name,
        title=study.title,
        fingerprint=fingerprint,
        base=make_config(fixed, base, f"study {study.name}, its search"),
        space=definition.space,
        start=definition.start,
        scheduler=definition.scheduler,
        sampler=SAMPLER,
        seeds=(SEED,),
        samples=samples,
        winner=definition.winner or f"best_{study.name.replace('-', '_')}",
    )
    if (grace := resolved.scheduler.grace or 1) > resolved.base.epochs:
        raise UsageError(f"study {study.name}, its scheduler: grace {grace} is above the {resolved.base.epochs} epochs")
    for number, point in enumerate(resolved.start, start=1):
        for name, value in resolved.start_values(point).items():
            if not resolved.space[name].contains(value):
                raise UsageError(
                    f"study {study.name}, start point {number} of its search: {name} {value} is not in the space "
                    f"({resolved.space[name]})"
                )
    return SearchPlan(resolved).with_trials(trials)
