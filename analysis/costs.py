"""What the trials of a record took: time, money, memory and processor, with those that failed or were interrupted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from analysis.prices import Prices
from analysis.record.recorded import (
    CPUS_PER_TRIAL,
    EPOCH_S,
    GPUS_PER_TRIAL,
    OUTCOME,
    SLOTS,
    RunStatus,
    SweepRecord,
    TrialRecord,
)
from trainable.study import ResolvedTable
from trainable.trial import TrialEnd

PEAK_MEMORY = "peak_memory_mb"
CPU_SHARE = "cpu_share"
"""Metrics of a trial: see `trainable.trial.Usage`."""


class Outcome(StrEnum):
    """How a trial ended, or that it still runs."""

    COMPLETE = TrialEnd.COMPLETE.value
    STOPPED = TrialEnd.STOPPED.value
    FAILED = TrialEnd.FAILED.value
    INTERRUPTED = TrialEnd.INTERRUPTED.value
    RUNNING = "running"


@dataclass(frozen=True)
class Spent:
    """What the trials of one table, or of one study outside the tables, took."""

    what: str
    trials: tuple[TrialRecord, ...]
    epochs: int
    """A trial that goes on from the checkpoint of an earlier one has that one's epochs, too; these count once."""
    seconds: float
    """Of a slot, all seeds of a trial together. Starting and waiting are not in it."""
    lost_s: float
    """Those seconds of failed and interrupted trials from which no finished trial went on."""
    money: float | None
    """None where a trial's sweep does not say what its slots were."""

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many trials ended how."""
        return Counter(map(outcome, self.trials))

    @property
    def peak_memory_mb(self) -> float | None:
        """The most that a trial held, in MiB; None where it was not measured."""
        return max((t.metrics[PEAK_MEMORY] for t in self.trials if PEAK_MEMORY in t.metrics), default=None)

    @property
    def cpu_share(self) -> float | None:
        """The mean over the trials of the processor's seconds by second of training; None where not measured."""
        shares = [trial.metrics[CPU_SHARE] for trial in self.trials if CPU_SHARE in trial.metrics]
        return sum(shares) / len(shares) if shares else None


def outcome(trial: TrialRecord) -> Outcome:
    """How a trial ended. One whose sweep was killed could not say: it was interrupted."""
    if trial.status == RunStatus.RUNNING:
        return Outcome.RUNNING
    said = trial.tags.get(OUTCOME)
    return Outcome(said) if said in set(TrialEnd) else Outcome.INTERRUPTED


class TrainedEpoch(NamedTuple):
    """An epoch of a trial. A trial that goes on from the checkpoint of an earlier one has that one's, too: these are
    equal."""

    key: str
    seeds: tuple[int, ...]
    number: int
    seconds: float


def trained_epochs(trial: TrialRecord) -> set[TrainedEpoch]:
    """The epochs of a trial whose history is read."""
    points = trial.histories.get(EPOCH_S, ())
    return {TrainedEpoch(trial.key, trial.seeds, number, seconds) for number, seconds in points}


def spent(
    tables: Sequence[ResolvedTable],
    trials: Iterable[TrialRecord],
    sweeps: Sequence[SweepRecord],
    prices: Prices,
) -> list[Spent]:
    """What each table took, then each study outside the tables, whatever the trials' outcome. Histories must be read.

    A trial counts in the first table that has its key. Money counts each slot with its part of the head, as while all
    slots of its sweep are at work.
    """
    home = {row.key: table for table in reversed(tables) for row in table.rows}
    names = [table.heading for table in tables]
    groups: dict[str, list[TrialRecord]] = {name: [] for name in names}
    for trial in sorted(trials, key=lambda trial: trial.status != RunStatus.FINISHED):
        table = home.get(trial.key)
        name = table.heading if table else f"Study {', '.join(trial.studies) or 'unknown'}"
        groups.setdefault(name, []).append(trial)
    hourly = {sweep.run_id: _hourly(sweep, prices) for sweep in sweeps}
    return [_spent(name, group, hourly) for name, group in groups.items() if group]


def _spent(what: str, trials: Sequence[TrialRecord], hourly: Mapping[str, float | None]) -> Spent:
    counted: set[TrainedEpoch] = set()
    total = lost = money = 0.0
    priced = True
    for trial in trials:
        epochs = trained_epochs(trial) - counted
        counted |= epochs
        seconds = sum(epoch.seconds for epoch in epochs)
        total += seconds
        lost += seconds if trial.status not in (RunStatus.FINISHED, RunStatus.RUNNING) else 0
        price = hourly.get(trial.sweep)
        priced &= price is not None
        money += seconds / 3600 * (price or 0)
    return Spent(what, tuple(trials), len(counted), total, lost, money if priced else None)


def _hourly(sweep: SweepRecord, prices: Prices) -> float | None:
    """Money for an hour of one of the sweep's slots, with its part of the head; None where the sweep does not say."""
    try:
        cpus, gpus, slots = (float(sweep.params[name]) for name in (CPUS_PER_TRIAL, GPUS_PER_TRIAL, SLOTS))
    except (KeyError, ValueError):
        return None
    return prices.slot(cpus, gpus) + (prices.head or 0) / max(slots, 1)
