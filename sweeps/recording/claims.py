"""Which sweep does what, where several share a record: each claims its work before it starts it.

A claim is a name, such as that of a training. It is held until the sweep has done what it names or tried it in vain,
until the sweep ends, or until its driver dies. A sweep announces its claims, looks who else holds or announces them,
and takes those that nobody does. Of two sweeps that announce the same at the same time the one with the smaller run id
takes it. This needs no lock, only a record that shows what was written to it (after Lamport's bakery algorithm,
Communications of the ACM 17, 1974).
"""

import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from pydantic import BaseModel

from analysis.record.heartbeats import HEARTBEAT, Heartbeats
from analysis.record.mlflow_record import all_runs
from analysis.record.recorded import ROLE, Role, RunStatus
from sweeps.errors import SweepError
from sweeps.recording.drivers import driver_machine, end_sweep, lost_driver
from sweeps.recording.heartbeats import beating
from sweeps.stages import remove_stages

CLAIMS_FILE = "claims.json"
"""Artifact of a sweep: its claims."""
LOOK_S = 0.2
"""Seconds between two looks at claims that are being written or settled."""
TAKEN = "another sweep took this one for dead and does its work"
LOOKS = 25
"""A claims file that is no JSON so often in a row was left half-written by a driver that died."""


class Claims(BaseModel):
    """The claims of one sweep as the record has them."""

    held: frozenset[str] = frozenset()
    announced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OtherSweep:
    """Another sweep that has not ended, and its claims."""

    run: Run
    claims: Claims

    @property
    def name(self) -> str:
        """Its name and its driver's machine."""
        return f"{self.run.data.tags[MLFLOW_RUN_NAME]} on {driver_machine(self.run)}"


class Claimant:
    """A sweep that claims work. Make it with `claiming`."""

    def __init__(self, client: MlflowClient, experiment_id: str, run_id: str, storage_path: str) -> None:
        self._client, self._experiment_id, self._run_id = client, experiment_id, run_id
        self._storage_path = storage_path
        self._held: frozenset[str] = frozenset()
        self._heartbeats = Heartbeats()

    def take(self, claims: Collection[str]) -> Set[str]:
        """Claim these. Returns those that this sweep holds now; the others are held by sweeps that live. Raises
        `SweepError` where this sweep was ended by another, which had not heard of it for `SILENT_S`."""
        if self._client.get_run(self._run_id).info.status != RunStatus.RUNNING:
            raise SweepError(f"{TAKEN}; run the same command again")
        wanted = frozenset(claims) - self._held
        self._write(announced=wanted)
        while True:
            refused, unsettled = set[str](), set[str]()
            for other in self._others():
                first = other.run.info.run_id < self._run_id
                refused |= wanted & (other.claims.held | (other.claims.announced if first else frozenset()))
                unsettled |= wanted & other.claims.announced
            if not unsettled - refused:
                break
            time.sleep(LOOK_S)
        self._held |= wanted - refused
        self._write()
        return self._held & frozenset(claims)

    def release(self, claims: Collection[str]) -> None:
        """Hold these no longer: they are done, or were tried in vain. Another sweep may take them."""
        if claims:
            self._held -= frozenset(claims)
            self._write()

    def holders(self, claims: Collection[str]) -> list[OtherSweep]:
        """The other sweeps that hold some of these. Those whose driver is gone are ended, and hold nothing."""
        return [other for other in self._others() if other.claims.held & frozenset(claims)]

    def _others(self) -> Iterator[OtherSweep]:
        running = f"tags.{ROLE} = '{Role.SWEEP}' and attributes.status = 'RUNNING'"
        for run in list(all_runs(self._client, self._experiment_id, running)):
            if run.info.run_id == self._run_id:
                continue
            if is_lost := lost_driver(run):
                remove_stages(self._storage_path, run.info.run_id)
            if is_lost or self._heartbeats.silent(run.info.run_id, run.data.tags.get(HEARTBEAT)):
                end_sweep(self._client, run)
            else:
                yield OtherSweep(run, self._read(run.info.run_id))

    def _read(self, run_id: str) -> Claims:
        """A sweep's claims. Raises the error of MLflow or of the system that keeps them from being read."""
        for look in range(1, LOOKS + 1):
            if not any(file.path == CLAIMS_FILE for file in self._client.list_artifacts(run_id)):
                return Claims()
            try:
                with suppress(ValueError), tempfile.TemporaryDirectory() as folder:
                    file = self._client.download_artifacts(run_id, CLAIMS_FILE, folder)
                    return Claims.model_validate_json(Path(file).read_text("utf-8"))
            except (OSError, MlflowException):
                if look == LOOKS:
                    raise
            time.sleep(LOOK_S)
        return Claims()

    def _write(self, announced: frozenset[str] = frozenset()) -> None:
        claims = Claims(held=self._held, announced=announced)
        self._client.log_text(self._run_id, claims.model_dump_json(), CLAIMS_FILE)


@contextmanager
def claiming(
    client: MlflowClient, experiment_id: str, run_id: str, storage_path: str, taken_over: Callable[[], object]
) -> Iterator[Claimant]:
    """The claims of a sweep, while this process lives and the context lasts. For `taken_over` see `beating`."""
    with beating(client, run_id, taken_over):
        yield Claimant(client, experiment_id, run_id, storage_path)
