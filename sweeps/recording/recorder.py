"""The one writer of the record: a thread that takes events from a queue, so that no trial ever waits for MLflow.

What it cannot deliver it tries again until the server is back. A trial's files in the storage are removed only after
the server has confirmed the finished trial; a sweep that dies before then records it the next time, without training.
"""

import json
import logging
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from pydantic import BaseModel
from safetensors.numpy import load_file

from analysis.passwords import hide_passwords
from analysis.plots.kernels import bound_of, kernel_grid
from analysis.record import ARRAYS_FOLDER, FILES, PLAN_FILE, ROLE, SEARCHES_FILE, STUDY_FOLDER, TRAINING_S, per_seed
from sweeps.errors import first_line
from sweeps.observer import Observer
from sweeps.recording.datasets import dataset_inputs
from sweeps.recording.note import NOTE, trial_note
from trainable.config import Config
from trainable.measures import TRAINING_FILES
from trainable.search_definition import ResolvedSearch
from trainable.storage import TRACES, WEIGHTS, DamagedFileError, StorageError, TrialStorage, entries_under
from trainable.study import ResolvedTable, StudyFile
from trainable.trial import Epoch, TrialEnd, TrialReport, TrialSpec

RETRY_S = 2.0
KERNELS = "kernels"
"""Key under which a trial's pictures of its kernels are logged."""
_STATUS = {
    TrialEnd.COMPLETE: "FINISHED",
    TrialEnd.STOPPED: "FINISHED",
    TrialEnd.INTERRUPTED: "KILLED",
    TrialEnd.FAILED: "FAILED",
}
"""MLflow's status of a trial's run."""

logger = logging.getLogger(__name__)


class Recorder(Observer):
    """Writes one sweep: a parent run, and a child run for every trial. The methods return at once."""

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
    ) -> None:
        self._client, self._experiment_id = client, experiment_id
        parent = client.create_run(experiment_id, run_name=name, tags={**tags, ROLE: "sweep"})
        self.run_id = parent.info.run_id
        client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in params.items()])
        log_studies(client, self.run_id, tables, searches, study_file)
        self._tags = dict(tags)
        self._trials: dict[str, _TrialRun] = {}
        self._finished: list[TrialStorage] = []
        self._queue: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self.failing_since: float | None = None
        """`time.monotonic()` of the first of the failures in a row, or None while the server answers."""
        self.refused = 0
        """Writes that no repetition would deliver."""
        self.problem = ""
        """What the last write that failed said, in one line."""
        self._thread.start()

    def trial_started(self, trial_id: str, spec: TrialSpec) -> None:
        """See `Observer`."""
        self._queue.put(lambda: self._start(trial_id, spec))

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        """See `Observer`."""
        now = now_ms()  # not in the write: one that is repeated must write the same
        self._queue.put(lambda: self._report(trial_id, report, now))

    def trial_ended(self, trial_id: str, end: TrialEnd, error: str) -> None:
        """See `Observer`."""
        now = now_ms()
        self._queue.put(lambda: self._end(trial_id, end, error, now))

    def act(self, write: Callable[[MlflowClient, str], object]) -> None:
        """Run any other write in order with the rest: it gets the client and the sweep's run id."""
        self._queue.put(lambda: write(self._client, self.run_id))

    def flush(self, patience_s: float = 60.0) -> bool:
        """Wait until all that is queued is written; False once the server has been failing for `patience_s`."""
        written = threading.Event()
        self._queue.put(written.set)
        return self._wait(written.is_set, patience_s)

    def finish(self, status: str, patience_s: float = 60.0) -> bool:
        """Write what is queued, end the sweep's run with an MLflow status, and say whether all was delivered. Trials of
        which nobody told the end were interrupted.

        Gives up once the server has been failing for `patience_s`.
        """
        self._queue.put(self._end_running)
        self._queue.put(lambda: self._client.set_terminated(self.run_id, status))
        self._queue.put(self._remove_finished)
        self._queue.put(None)
        return self._wait(lambda: not self._thread.is_alive(), patience_s) and not self.refused

    def _wait(self, until: Callable[[], bool], patience_s: float) -> bool:
        while not until():
            time.sleep(0.05)
            if self.failing_since is not None and time.monotonic() - self.failing_since > patience_s:
                return False
        return True

    def _work(self) -> None:
        while (write := self._queue.get()) is not None:
            while not self._delivered(write):
                time.sleep(RETRY_S)

    def _delivered(self, write: Callable[[], object]) -> bool:
        """Whether the write is settled: done, or refused for good; False where it is worth another try."""
        try:
            write()
        except DamagedFileError as error:
            logger.error("a trial is not complete, and will be trained again: %s", error)
            self.refused, self.problem = self.refused + 1, str(error)
        except Exception as error:
            self.problem = first_line(error)
            if _is_outage(error):
                if self.failing_since is None:
                    self.failing_since = time.monotonic()
                    place = "storage" if isinstance(error, StorageError) else "record"
                    logger.warning("the %s does not answer, trying again: %s", place, hide_passwords(self.problem))
                return False
            logger.exception("the record refused a write")
            self.refused += 1
        self.failing_since = None
        return True

    def _start(self, trial_id: str, spec: TrialSpec) -> None:
        tags = {
            **self._tags,
            **spec.tags,
            ROLE: "trial",
            "key": spec.key,
            "config": json.dumps(spec.config.canonical()),
            "seeds": json.dumps(spec.seeds),
            MLFLOW_PARENT_RUN_ID: self.run_id,
            NOTE: trial_note(self._experiment_id, self.run_id),
        }
        if trial_id not in self._trials:  # else Tune restarted the actor, or this write is being repeated
            run = self._client.create_run(self._experiment_id, run_name=spec.name, tags=tags)
            storage = TrialStorage(spec.storage_path, spec.key, spec.seeds)
            self._trials[trial_id] = _TrialRun(run.info.run_id, spec.config, spec.seeds, storage)
        run_id = self._trials[trial_id].run_id
        self._client.log_batch(run_id, params=config_params(spec.config))
        self._client.log_inputs(run_id, datasets=dataset_inputs(spec.config, spec.fingerprint, spec.data_dir))

    def _report(self, trial_id: str, report: TrialReport, now: int) -> None:
        trial = self._trials[trial_id]
        last = trial.epochs[-1].number if trial.epochs else 0
        new = [epoch for epoch in report.epochs if epoch.number > last]
        metrics = [
            Metric(name, value, now, epoch.number)
            for epoch in new
            for name, value in _metrics_of(epoch, trial.seeds).items()
        ]
        usage = report.usage.model_dump() if report.usage else {}
        metrics += [Metric(name, value, now, report.last.number) for name, value in usage.items()]
        environment = report.environment.model_dump() if report.environment else {}
        tags = [RunTag(name, value) for name, value in environment.items()]
        self._client.log_batch(trial.run_id, metrics=metrics, tags=tags)
        trial.epochs += new

    def _end(self, trial_id: str, end: TrialEnd, error: str, now: int) -> None:
        trial = self._trials.get(trial_id)
        if trial is None:
            return
        run_id = trial.run_id
        status, complete = _STATUS[end], end == TrialEnd.COMPLETE
        epochs = trial.config.epochs if complete else len(trial.epochs)
        if status == "FINISHED" and [epoch.number for epoch in trial.epochs] != list(range(1, epochs + 1)):
            raise ValueError(f"the record of {run_id} lacks some of its {epochs} epochs: it is not finished")
        summary = []
        if trial.epochs:
            last = trial.epochs[-1].number
            summary = [Metric(name, value, now, last) for name, value in summarise(trial.epochs).items()]
        self._client.log_dict(run_id, trial.config.model_dump(mode="json"), "config.json")
        tags = [RunTag("outcome", end)] + ([RunTag("error", error[-5000:])] if error else [])
        if complete:
            with tempfile.TemporaryDirectory() as folder:
                self._log_files(trial, Path(folder))
        self._client.log_batch(run_id, metrics=summary, tags=tags)
        self._client.set_terminated(run_id, status)
        if status == "FINISHED":
            self._finished.append(trial.storage)
            self._queue.put(trial.storage.remove)  # a write of its own: what fails half-way must not end the trial anew
        del self._trials[trial_id]

    def _end_running(self) -> None:
        for trial_id in list(self._trials):
            self._end(trial_id, TrialEnd.INTERRUPTED, "", now_ms())

    def _remove_finished(self) -> None:
        for storage in self._finished:  # an actor may have saved once more as it was stopped
            storage.remove()

    def _log_files(self, trial: "_TrialRun", folder: Path) -> None:
        files = [file for name in TRAINING_FILES if (file := trial.storage.fetch(name, folder))]
        if not (folder / WEIGHTS).exists():
            raise FileNotFoundError(
                f"the storage has no weights of {trial.run_id}: it is not finished; --storage-path must be a place "
                "that all nodes share"
            )
        log_arrays(self._client, trial.run_id, files)
        if (traces := folder / TRACES).exists():
            kernels = {int(epoch): array for epoch, array in entries_under("kernels/epoch_", load_file(traces)).items()}
            bound = bound_of(*kernels.values())  # one scale for all epochs, so that the UI shows how they grow
            for epoch, array in kernels.items():
                if epoch & (epoch - 1) == 0 or epoch == len(trial.epochs):  # 0, 1, 2, 4, ... and the last
                    self._client.log_image(trial.run_id, kernel_grid(array, bound), key=KERNELS, step=epoch)


def log_arrays(client: MlflowClient, run_id: str, files: Sequence[Path], known: Sequence[str] = ()) -> None:
    """Add files of arrays to a trial's run, whose `FILES` tag names those that it has: `known` so far."""
    for file in files:
        client.log_artifact(run_id, str(file), ARRAYS_FOLDER)
    client.set_tag(run_id, FILES, " ".join(dict.fromkeys([*known, *(file.name for file in files)])))


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


def config_params(config: Config) -> list[Param]:
    """A config as MLflow's parameters."""
    return [Param(name, str(value)) for name, value in config.model_dump(mode="json").items()]


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _is_outage(error: Exception) -> bool:
    """Whether the same write may succeed later: the server or the network is at fault, not the write."""
    if isinstance(error, MlflowException):
        return error.get_http_status_code() >= 500 or error.get_http_status_code() == 429
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError | PermissionError)


class _TrialRun:
    """What the recorder remembers of a running trial: numbers only, never images or weights."""

    def __init__(self, run_id: str, config: Config, seeds: tuple[int, ...], storage: TrialStorage) -> None:
        self.run_id, self.config, self.seeds, self.storage = run_id, config, seeds, storage
        self.epochs: list[Epoch] = []


def _metrics_of(epoch: Epoch, seeds: tuple[int, ...]) -> dict[str, float]:
    """One epoch's metrics by MLflow name: the seeds' mean under the plain name, and each seed's."""
    metrics = {"epoch_s": epoch.seconds}
    for name, values in epoch.metrics.items():
        metrics[name] = epoch.mean(name)
        metrics |= {per_seed(name, seed): value for seed, value in zip(seeds, values, strict=True)}
    return metrics


def summarise(epochs: Sequence[Epoch]) -> dict[str, float]:
    """A trial's headline numbers: `best_test_error` is the mean over the seeds of each one's minimum over the epochs,
    `seed_epoch_s` the seconds of one epoch of one seed."""
    summary: dict[str, float] = {}
    for name in epochs[0].metrics:
        if name.endswith("_error"):
            best = [min(values) for values in zip(*(epoch.metrics[name] for epoch in epochs), strict=True)]
            summary[f"best_{name}"] = sum(best) / len(best)
    seeds = len(epochs[0].metrics["train_loss"])
    summary[TRAINING_S] = sum(epoch.seconds for epoch in epochs)
    summary["seed_epoch_s"] = summary[TRAINING_S] / len(epochs) / seeds
    return summary
