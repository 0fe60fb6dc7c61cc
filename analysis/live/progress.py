"""How far a sweep is, from the record alone: what is trained, what runs, what failed and how long the rest takes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from analysis.costs import Outcome, TrainedEpoch, outcome, trained_epochs
from analysis.record.recorded import RunStatus, SweepRecord, TrialRecord, recorded_seeds
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
        return self._errors[-1][0] if self._errors else 0

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
    """The seeds that are still to train, ascending."""
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
    earlier_epochs: frozenset[TrainedEpoch]
    """What `trained_epochs` returns of the trials of other sweeps: trials that go on from there repeat it."""
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
        """Its trials that were given up. The next sweep tries them again."""
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
        """Estimated seconds until the tables are trained, at the sweep's mean speed so far. None before its first
        epoch.

        What it gave up is not in it, and neither is a search: nobody knows which of its trials will be stopped.
        """
        if not self._trained_s:
            return None
        reached = {(each.trial.key, seed): each.epoch for each in self.running for seed in each.trial.seeds}
        given_up = {(trial.key, seed) for trial in self.failed for seed in trial.seeds}
        configs = {row.row.key: row.row.config for table in self.tables for row in table.rows}
        left = self.missing - given_up
        epoch_s = {key: _epoch_s(configs[key], self._trained_s) for key in {key for key, _ in left}}
        work_s = sum(epoch_s[key] * (configs[key].epochs - reached.get((key, seed), 0)) for key, seed in left)
        done_s = sum(sum(seconds) * len(trial.seeds) for trial, seconds in self._epochs_here)
        return work_s / (done_s / self.elapsed_s)

    @cached_property
    def _epochs_here(self) -> list[tuple[TrialRecord, list[float]]]:
        """The seconds that one seed of each trial took for each epoch that was trained in this sweep. Seeds that are
        trained together share the time."""
        return [
            (trial, [epoch.seconds / len(trial.seeds) for epoch in trained_epochs(trial) - self.earlier_epochs])
            for trial in self.own
        ]

    @cached_property
    def _trained_s(self) -> dict[Config, float]:
        """The mean seconds of an epoch of one seed, of each config that has trained one in this sweep."""
        by_config: dict[Config, list[float]] = {}
        for trial, seconds in self._epochs_here:
            if seconds:
                by_config.setdefault(trial.config, []).extend(seconds)
        return {config: fmean(seconds) for config, seconds in by_config.items()}


def _epoch_s(config: Config, known: Mapping[Config, float]) -> float:
    """The seconds of an epoch of one seed: the config's own, or those of others, by the arithmetic of their networks
    where that is known."""
    if config in known:
        return known[config]
    built_in = {each: seconds for each, seconds in known.items() if not each.has_own_step}
    if config.has_own_network or not built_in:
        return fmean(known.values())
    return multiply_adds(config) * fmean(seconds / multiply_adds(each) for each, seconds in built_in.items())


def progress_of(
    sweep: SweepRecord, trials: Sequence[TrialRecord], searches: Sequence[RecordedSearch], now_s: float
) -> SweepProgress:
    """How far a sweep is at that time, in seconds since 1970. `trials` are all of the record. Those that the sweep may
    use have their histories."""
    own = tuple(trial for trial in trials if trial.sweep == sweep.run_id)
    running: dict[str, list[RunningTrial]] = {}
    for trial in own:
        if trial.status == RunStatus.RUNNING:
            running.setdefault(trial.key, []).append(RunningTrial(trial))
    recorded = {measure: recorded_seeds(trials, measure) for measure in {table.measure for table in sweep.tables}}
    tables = []
    for table in sweep.tables:
        rows = []
        for row in table.rows:
            there = recorded[table.measure].get(row.key, set())
            asked = set(range(table.seeds)) or there
            trained, missing = (tuple(sorted(seeds)) for seeds in (asked & there, asked - there))
            rows.append(RowProgress(row, trained, missing, tuple(running.get(row.key, ()))))
        tables.append(TableProgress(table, tuple(rows)))
    keys = {trial.key for trial in own}
    earlier = [trial for trial in trials if trial.sweep != sweep.run_id and trial.key in keys]
    return SweepProgress(
        sweep,
        tuple(tables),
        tuple(searches),
        own,
        frozenset().union(*map(trained_epochs, earlier)),
        elapsed_s=max(now_s - sweep.start_time / 1000, 1.0),
    )
