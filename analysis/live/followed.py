"""A record that is read again and again while it grows. What has ended is read once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.record.heartbeats import HEARTBEAT, Heartbeats
from analysis.record.mlflow_record import Record
from analysis.record.recorded import CURVES, RunStatus, Series, SweepRecord, TrialRecord


class FollowedRecord:
    """Reads a record for somebody who follows one sweep of it."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._histories: dict[str, dict[str, Series]] = {}
        """Of trials that have ended, by run id."""
        self._arrays: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        """By run id and the file's name."""
        self._heartbeats = Heartbeats()

    def look(self, sweep: str = "") -> "Moment":
        """What the record has now of the latest sweep of that name. Without a name it is the latest sweep that runs; if
        none runs, the latest of all. Raises `LookupError` where there is none."""
        sweeps = self._record.sweeps()
        named = [each for each in sweeps if sweep in ("", each.name)]
        if not named:
            raise LookupError(f"no sweep {sweep!r}" if sweep else "no sweep")
        followed = ([each for each in named if each.status == RunStatus.RUNNING] or named)[-1]
        others = [each.name for each in sweeps if each.status == RunStatus.RUNNING and each is not followed]
        silent = self._heartbeats.silent(followed.run_id, followed.tags.get(HEARTBEAT))
        return Moment(self, followed, tuple(self._trials(followed)), silent, others)

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        """See `Source`."""
        if not trial.has(name):
            return {}
        if (file := (trial.run_id, name)) not in self._arrays:
            self._arrays[file] = self._record.arrays(trial, name)
        return self._arrays[file]

    def origin(self, sweep: SweepRecord) -> dict[str, str]:
        """See `Source`."""
        return self._record.origin(sweep)

    def _trials(self, sweep: SweepRecord) -> list[TrialRecord]:
        """All trials of the record. Those of the sweep, and those of earlier ones that it need not repeat, have their
        histories."""
        trials = self._record.trials()
        keys = {key for table in sweep.tables for key in (table.reference, *(row.key for row in table.rows))}

        def concerned(trial: TrialRecord) -> bool:
            in_tables = trial.sweep == sweep.run_id or trial.key in keys
            return in_tables or any(search.covers(trial.config, trial.fingerprint) for search in sweep.searches)

        new = [trial for trial in trials if trial.run_id not in self._histories and concerned(trial)]
        read = {trial.run_id: trial.histories for trial in self._record.with_histories(new, CURVES)}
        self._histories |= {trial.run_id: read[trial.run_id] for trial in new if trial.status != RunStatus.RUNNING}
        known = self._histories | read
        return [replace(trial, histories=known.get(trial.run_id, {})) for trial in trials]


@dataclass(frozen=True)
class Moment:
    """A `Source` of one sweep at one moment, with all trials of its record: earlier sweeps may have trained some of
    what it asks for."""

    record: FollowedRecord
    sweep: SweepRecord
    trials: Sequence[TrialRecord]
    silent: bool
    """Whether the sweep's driver has given no sign for long: see `Heartbeats`."""
    others: list[str]
    """The names of other sweeps that run."""

    def sweeps(self) -> list[SweepRecord]:
        """See `Source`."""
        return [self.sweep]

    def histories(self) -> list[TrialRecord]:
        """See `Source`."""
        return list(self.trials)

    def origin(self, sweep: SweepRecord) -> dict[str, str]:
        """See `Source`."""
        return self.record.origin(sweep)

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        """See `Source`."""
        return self.record.arrays(trial, name)
