"""The record of one sweep as it runs: the sweep's run, and the runs of its trials."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Param
from pydantic import BaseModel

from analysis.record.recorded import PLAN_FILE, ROLE, SEARCHES_FILE, STUDY_FOLDER, Role, RunStatus
from sweeps.observer import Observer, TrialEvent
from sweeps.recording.outage import PATIENCE_S
from sweeps.recording.recorder_process import RecorderProcess
from sweeps.recording.trial_runs import SweepRun, TrialRuns
from sweeps.recording.writer import Delivery, Writer, wait
from trainable.resolved_search import ResolvedSearch
from trainable.study import ResolvedTable, StudyFile


class Recorder(Observer):
    """Writes one sweep: a parent run, and a child run for every trial. The methods return at once.

    The trials' runs are written in this process, or in `processes` of their own: a large cluster's trials keep several
    busy, and MLflow would take the time from Tune's loop.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        *,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        tables: Sequence[ResolvedTable] = (),
        searches: Sequence[ResolvedSearch] = (),
        study_file: StudyFile | None = None,
        processes: int = 0,
    ) -> None:
        self._client = client
        self.run_id = client.create_run(experiment_id, run_name=name, tags={**tags, ROLE: Role.SWEEP}).info.run_id
        client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in params.items()])
        log_studies(client, self.run_id, tables, searches, study_file)
        self._writer = Writer()
        sweep = SweepRun(client.tracking_uri, experiment_id, self.run_id, dict(tags))
        self._processes = [RecorderProcess(sweep) for _ in range(processes)]
        here: Sequence[RecorderProcess | TrialRuns] = [TrialRuns(client, sweep, self._writer)]
        self._trials = self._processes or here

    @property
    def refused(self) -> int:
        """Writes that no repetition would deliver."""
        return sum(each.refused for each in self._deliveries())

    @property
    def problem(self) -> str:
        """What a write that failed said, in one line; empty where all arrive."""
        return next((each.problem for each in self._deliveries() if each.problem), "")

    def _deliveries(self) -> list[Delivery]:
        return [self._writer.delivery, *(each.delivery for each in self._processes)]

    def tell(self, event: TrialEvent) -> None:
        """See `Observer`."""
        self._trials[zlib.crc32(event.trial_id.encode()) % len(self._trials)].tell(event)

    def act(self, write: Callable[[MlflowClient], object]) -> None:
        """Run any other write: it gets the client. Trials that other processes write may not be in the record yet."""
        self._writer.put(lambda: write(self._client))

    def flush(self, patience_s: float = PATIENCE_S) -> bool:
        """Wait until all that is queued is written; False once the server has been failing for `patience_s`, or where a
        process of the recorder has died."""
        marks = [self._writer.mark(), *(each.mark() for each in self._processes)]

        def over() -> bool:
            return all(written() for written in marks) or self._broken

        return wait(over, self._deliveries, patience_s) and not self._broken

    @property
    def _broken(self) -> bool:
        """Whether a process has died with what it was to write."""
        return any(each.died for each in self._processes)

    def finish(self, status: RunStatus, patience_s: float = PATIENCE_S) -> bool:
        """Write what is queued, end the sweep's run with an MLflow status, and say whether all was delivered. Trials of
        which nobody told the end were interrupted. A sweep of which a write was refused has failed, not finished.

        Gives up once the server has been failing for `patience_s`.
        """
        for each in self._trials:
            each.finish()
        if not wait(lambda: all(each.closed for each in self._processes), self._deliveries, patience_s):
            return False
        refused = sum(each.delivery.refused for each in self._processes)

        def end() -> None:
            lacks = status == RunStatus.FINISHED and (refused or self._writer.delivery.refused)
            self._client.set_terminated(self.run_id, RunStatus.FAILED if lacks else status)

        self._writer.put(end)
        self._writer.close()
        return wait(lambda: self._writer.closed, self._deliveries, patience_s) and not self.refused


def log_studies(
    client: MlflowClient,
    run_id: str,
    tables: Sequence[ResolvedTable],
    searches: Sequence[ResolvedSearch],
    study_file: StudyFile | None,
) -> None:
    """Keep on a sweep's run its tables with the key of every row, its searches, and the file that a study was read
    from, so that the record explains itself."""
    log_tables(client, run_id, tables)
    client.log_text(run_id, _as_json(searches), SEARCHES_FILE)
    if study_file:
        client.log_text(run_id, study_file.text, f"{STUDY_FOLDER}/{study_file.name}")


def log_tables(client: MlflowClient, run_id: str, tables: Sequence[ResolvedTable]) -> None:
    """Keep these tables on a sweep's run, in place of those that it has."""
    client.log_text(run_id, _as_json(tables), PLAN_FILE)


def _as_json(parts: Sequence[BaseModel]) -> str:
    return json.dumps([part.model_dump(mode="json") for part in parts], indent=1)
