"""How far a sweep is, from the record alone: what is trained, what runs, what failed and how long the rest takes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from analysis.costs import Outcome, outcome
from analysis.record.recorded import EPOCH_S, RunStatus, SweepRecord, TrialRecord, recorded_seeds
from analysis.searches import RecordedSearch
from analysis.statistics.intervals import with_seeds
from trainable.architecture import multiply_adds
from trainable.config import Config
from trainable.study import ResolvedRow, ResolvedTable

Training = tuple[str, int]
"""A key and a seed."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has not ended. Its history must be read."""

    trial: TrialRecord

    @property
    def name(self) -> str:
        """The trial's name with its seeds: see `with_seeds`."""
        return with_seeds(self.trial.name, self.trial.seeds)

    @property
    def epoch(self) -> int:
        """The last epoch that is recorded; 0 before the first."""
        return max((step for step, _ in self._errors), default=0)

    @property
    def error(self) -> float | None:
        """The held-out error after that epoch, the seeds' mean."""
        return self._errors[-1][1] if self._errors else None

    @property
    def _errors(self) -> Sequence[tuple[int, float]]:
        return self.trial.histories.get(self.trial.config.held_out, ())


@dataclass(frozen=True)
class RowProgress:
    """How far a row of a table is."""

    row: ResolvedRow
    trained: tuple[int, ...]
    """The seeds that are recorded with what the table measures, of those that the sweep asked for, ascending."""
    missing: tuple[int, ...]
    """Those that the sweep asked for, and the record lacks."""
    running: tuple[RunningTrial, ...]


@dataclass(frozen=True)
class TableProgress:
    """How far a table is."""

    table: ResolvedTable
    rows: tuple[RowProgress, ...]


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is."""

    sweep: SweepRecord
    tables: tuple[TableProgress, ...]
    searches: tuple[RecordedSearch, ...]
    own: tuple[TrialRecord, ...]
    """The sweep's own trials, however they ended, with their histories."""
    before: frozenset[tuple[str, tuple[int, ...], int]]
    """Key, seeds and number of the epochs that other sweeps have recorded: a trial that goes on from the checkpoint of
    an earlier one has that one's epochs, too."""
    elapsed_s: float

    @property
    def running(self) -> list[RunningTrial]:
        """Its trials that have not ended, oldest first."""
        return [RunningTrial(trial) for trial in self.own if trial.status == RunStatus.RUNNING]

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many of its trials ended how."""
        return Counter(map(outcome, self.own))

    @property
    def failed(self) -> list[TrialRecord]:
        """Its trials that were given up."""
        return [trial for trial in self.own if outcome(trial) == Outcome.FAILED]

    @property
    def trained(self) -> set[Training]:
        """What the tables ask for and the record has, each once."""
        trained = {(row.row.key, seed) for table in self.tables for row in table.rows for seed in row.trained}
        return trained - self.missing

    @property
    def missing(self) -> set[Training]:
        """What the tables ask for and the record lacks, each once."""
        return {(row.row.key, seed) for table in self.tables for row in table.rows for seed in row.missing}

    @property
    def seconds_left(self) -> float | None:
        """How long the tables take yet, if slots train as fast and as many at a time as since the sweep began. None
        before the first epoch of the sweep.

        What a search still asks for is not in it: nobody knows which of its trials will be stopped.
        """
        timed: dict[Config, list[float]] = {}
        for trial in self.own:
            if epochs := self._epochs_here(trial):
                timed.setdefault(trial.config, []).extend(seconds / len(trial.seeds) for seconds in epochs)
        if not timed:
            return None
        reached = {(each.trial.key, seed): each.epoch for each in self.running for seed in each.trial.seeds}
        configs = {row.row.key: row.row.config for table in self.tables for row in table.rows}
        left = sum(
            (configs[key].epochs - reached.get((key, seed), 0)) * _epoch_s(configs[key], timed)
            for key, seed in self.missing
        )
        at_once = sum(sum(self._epochs_here(trial)) for trial in self.own) / self.elapsed_s
        return left / at_once

    def _epochs_here(self, trial: TrialRecord) -> list[float]:
        """The seconds of the epochs that the trial has trained in this sweep."""
        series = trial.histories.get(EPOCH_S, [])
        return [seconds for epoch, seconds in series if (trial.key, trial.seeds, epoch) not in self.before]


def _epoch_s(config: Config, timed: Mapping[Config, Sequence[float]]) -> float:
    """The seconds that an epoch of one seed takes: the mean of the config's own. Where it has none yet, those of the
    others by the arithmetic of their networks, as far as that is known."""
    if config in timed:
        return fmean(timed[config])
    known = {each: seconds for each, seconds in timed.items() if not each.has_own_network}
    if config.has_own_network or not known:
        return fmean(fmean(seconds) for seconds in timed.values())
    return multiply_adds(config) * fmean(fmean(seconds) / multiply_adds(each) for each, seconds in known.items())


def progress_of(
    sweep: SweepRecord, trials: Sequence[TrialRecord], searches: Sequence[RecordedSearch], now_s: float
) -> SweepProgress:
    """How far a sweep is at that time, in seconds since 1970. `trials` are all of the record with their histories."""
    own = tuple(trial for trial in trials if trial.sweep == sweep.run_id)
    running: dict[str, list[RunningTrial]] = {}
    for trial in own:
        if trial.status == RunStatus.RUNNING:
            running.setdefault(trial.key, []).append(RunningTrial(trial))
    tables = []
    for table in sweep.tables:
        recorded = recorded_seeds(trials, table.measure)
        rows = []
        for row in table.rows:
            there = recorded.get(row.key, set())
            asked = set(range(table.seeds)) or there
            trained, missing = (tuple(sorted(seeds)) for seeds in (asked & there, asked - there))
            rows.append(RowProgress(row, trained, missing, tuple(running.get(row.key, ()))))
        tables.append(TableProgress(table, tuple(rows)))
    before = frozenset(
        (trial.key, trial.seeds, epoch)
        for trial in trials
        if trial.sweep != sweep.run_id
        for epoch, _ in trial.histories.get(EPOCH_S, ())
    )
    elapsed_s = max(now_s - sweep.start_time / 1000, 1.0)
    return SweepProgress(sweep, tuple(tables), tuple(searches), own, before, elapsed_s)
