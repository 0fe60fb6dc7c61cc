"""The runs of a sweep's trials.

Reports that come faster than the record takes them are written together. A trial's files in the storage are removed
only after the server has confirmed the finished trial; a sweep that dies before then records it the next time, without
training.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from safetensors.numpy import load_file

from analysis.record.recorded import (
    ARRAYS_FOLDER,
    EPOCH_S,
    FILES,
    OUTCOME,
    ROLE,
    SEED_EPOCH_S,
    TRAINING_S,
    Role,
    RunStatus,
    per_seed,
)
from analysis.record.trial_errors import ERRORS
from analysis.record.trial_tags import written_tags
from sweeps.fault import NO_FAULT, Fault
from sweeps.observer import Observer
from sweeps.recording.datasets import dataset_inputs
from sweeps.recording.kernel_images import log_kernels
from sweeps.recording.note import NOTE, trial_note
from sweeps.recording.outage import despite_a_race
from sweeps.recording.writer import Writer
from trainable.config import Config
from trainable.files import TRACES, WEIGHTS
from trainable.measures import TRAINING_FILES
from trainable.storage import TrialStorage
from trainable.trial import OWN, Epoch, TrialEnd, TrialReport, TrialSpec

_STATUS = {
    TrialEnd.COMPLETE: RunStatus.FINISHED,
    TrialEnd.STOPPED: RunStatus.FINISHED,
    TrialEnd.INTERRUPTED: RunStatus.KILLED,
    TrialEnd.FAILED: RunStatus.FAILED,
}
"""MLflow's status of a trial's run."""


@dataclass(frozen=True)
class SweepRun:
    """The sweep's run, of which the trials' runs are children."""

    tracking_uri: str
    experiment_id: str
    run_id: str
    tags: Mapping[str, str]
    """Those that its trials have, too."""


class TrialRuns(Observer):
    """Has each trial's run written by `writer`. The methods return at once."""

    def __init__(self, client: MlflowClient, sweep: SweepRun, writer: Writer) -> None:
        self._client, self._sweep, self._put = client, sweep, writer.put
        self._trials: dict[str, _TrialRun] = {}
        self._finished: list[TrialStorage] = []
        """Of trials that may still have files there."""

    def trial_started(self, trial_id: str, spec: TrialSpec) -> None:
        """See `Observer`."""
        trial = self._trials.setdefault(trial_id, _TrialRun(trial_id, spec))  # it is there where an actor was restarted
        self._put(lambda: self._start(trial))

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        """See `Observer`."""
        if trial := self._trials.get(trial_id):
            trial.news.append(_News(report, now_ms()))  # the time is not taken in the write: a repeated one is equal
            self._put(lambda: self._write_news(trial))

    def trial_ended(self, trial_id: str, end: TrialEnd, fault: Fault) -> None:
        """See `Observer`."""
        if trial := self._trials.get(trial_id):
            now = now_ms()
            self._put(lambda: self._end(trial, end, fault, now))
            # a write of its own, since what fails half-way must not end the trial anew; and put now, for `flush`
            self._put(lambda: self._remove(trial, end))

    def finish(self) -> None:
        """End the trials of which nobody told the end, or whose end was refused: they were interrupted."""
        for trial_id in list(self._trials):
            self.trial_ended(trial_id, TrialEnd.INTERRUPTED, NO_FAULT)
        self._put(self._remove_finished)

    def _start(self, trial: "_TrialRun") -> None:
        spec = trial.spec
        if not trial.run_id:
            tags = {
                **self._sweep.tags,
                **spec.tags,
                **written_tags(spec),
                ROLE: Role.TRIAL,
                MLFLOW_PARENT_RUN_ID: self._sweep.run_id,
                NOTE: trial_note(self._sweep.experiment_id, self._sweep.run_id),
            }
            trial.run_id = self._run_of_lost_answer(trial) or self._create(trial, tags)
        self._client.log_batch(trial.run_id, params=config_params(spec.config))
        datasets = dataset_inputs(spec.config, spec.fingerprint, spec.data_dir)
        despite_a_race(partial(self._client.log_inputs, trial.run_id, datasets=datasets))

    def _create(self, trial: "_TrialRun", tags: dict[str, str]) -> str:
        trial.asked_for = True
        return self._client.create_run(self._sweep.experiment_id, run_name=trial.spec.name, tags=tags).info.run_id

    def _run_of_lost_answer(self, trial: "_TrialRun") -> str:
        """The run that the server has made of a trial though its answer did not arrive; empty for none."""
        if not trial.asked_for:
            return ""
        tags = {MLFLOW_PARENT_RUN_ID: self._sweep.run_id, **written_tags(trial.spec)}
        same = [f"tags.`{name}` = '{tags[name]}'" for name in (MLFLOW_PARENT_RUN_ID, "key", "seeds")]
        query = " and ".join([*same, "attributes.status = 'RUNNING'"])
        runs = self._client.search_runs([self._sweep.experiment_id], query, max_results=1)
        return runs[0].info.run_id if runs else ""

    def _write_news(self, trial: "_TrialRun") -> None:
        if trial.run_id and trial.news:  # else its run was refused, or they went with those of an earlier report
            batch = trial.batch()
            self._client.log_batch(trial.run_id, metrics=batch.metrics, tags=batch.tags)
            trial.written(batch)

    def _end(self, trial: "_TrialRun", end: TrialEnd, fault: Fault, now: int) -> None:
        if not trial.run_id or trial.trial_id not in self._trials:
            return  # its run was refused, or it has ended before the sweep did
        status, complete = _STATUS[end], end == TrialEnd.COMPLETE
        batch = trial.batch()
        epochs = trial.spec.config.epochs if complete else len(batch.epochs)
        if status == RunStatus.FINISHED and [epoch.number for epoch in batch.epochs] != list(range(1, epochs + 1)):
            raise ValueError(f"the record of {trial.run_id} lacks some of its {epochs} epochs: it is not finished")
        if complete:
            with tempfile.TemporaryDirectory() as folder:
                self._log_files(trial, Path(folder))
        summary = [Metric(name, value, now, epochs) for name, value in summarise(batch.epochs).items()]
        tags = [RunTag(OUTCOME, end)] + ([RunTag(ERRORS, fault.text[-5000:])] if fault.text else [])
        self._client.log_batch(trial.run_id, metrics=batch.metrics + summary, tags=batch.tags + tags)
        trial.written(batch)
        self._client.set_terminated(trial.run_id, status)
        if status == RunStatus.FINISHED:
            self._finished.append(trial.storage)
        del self._trials[trial.trial_id]

    def _remove(self, trial: "_TrialRun", end: TrialEnd) -> None:
        if trial.storage in self._finished:
            trial.storage.remove()
            if end == TrialEnd.COMPLETE:  # the actor of a stopped trial may save once more
                self._finished.remove(trial.storage)

    def _remove_finished(self) -> None:
        for storage in self._finished:
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
            log_kernels(self._client, trial.run_id, load_file(traces), trial.spec.config.epochs)


@dataclass(frozen=True)
class _News:
    """A report that is not written yet."""

    report: TrialReport
    time_ms: int


@dataclass(frozen=True)
class _Batch:
    """What a trial's run lacks of its reports."""

    news: int
    """Reports in it."""
    epochs: list[Epoch]
    """All of the trial's so far."""
    metrics: list[Metric]
    tags: list[RunTag]


@dataclass
class _TrialRun:
    """A running trial: numbers only, never images or weights."""

    trial_id: str
    spec: TrialSpec
    run_id: str = ""
    """Empty until the run is made."""
    asked_for: bool = False
    """Whether the server was asked to make it."""
    epochs: list[Epoch] = field(default_factory=list)
    """Those that are written."""
    news: list[_News] = field(default_factory=list)

    @cached_property
    def storage(self) -> TrialStorage:
        return TrialStorage(self.spec.experiment_folder, self.spec.key, self.spec.seeds)

    def batch(self) -> _Batch:
        """What the run lacks now."""
        news = tuple(self.news)  # the driver adds to it
        batch = _Batch(len(news), list(self.epochs), [], [])
        for each in news:
            report, last = each.report, batch.epochs[-1].number if batch.epochs else 0
            new = [epoch for epoch in report.epochs if epoch.number > last]
            batch.epochs.extend(new)
            for epoch in new:
                values = _metrics_of(epoch, self.spec.seeds)
                batch.metrics.extend(Metric(name, value, each.time_ms, epoch.number) for name, value in values.items())
            usage = report.usage.model_dump() if report.usage else {}
            batch.metrics.extend(Metric(name, value, each.time_ms, report.last.number) for name, value in usage.items())
            environment = report.environment.model_dump() if report.environment else {}
            batch.tags.extend(RunTag(name, value) for name, value in environment.items())
        return batch

    def written(self, batch: _Batch) -> None:
        """Note that a batch is in the record."""
        self.epochs = batch.epochs
        del self.news[: batch.news]


def log_arrays(client: MlflowClient, run_id: str, files: Sequence[Path], known: Sequence[str] = ()) -> None:
    """Add files of arrays to a trial's run, whose `FILES` tag names those that it has: `known` so far."""
    for file in files:
        client.log_artifact(run_id, str(file), ARRAYS_FOLDER)
    client.set_tag(run_id, FILES, " ".join(dict.fromkeys([*known, *(file.name for file in files)])))


def config_params(config: Config) -> list[Param]:
    """A config as MLflow's parameters."""
    return [Param(name, str(value)) for name, value in config.flat().items()]


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _metrics_of(epoch: Epoch, seeds: tuple[int, ...]) -> dict[str, float]:
    """One epoch's metrics by MLflow name: the seeds' mean under the plain name, and each seed's."""
    metrics = {EPOCH_S: epoch.seconds}
    for name, values in epoch.metrics.items():
        metrics[name] = epoch.mean(name)
        metrics |= {per_seed(name, seed): value for seed, value in zip(seeds, values, strict=True)}
    return metrics


def summarise(epochs: Sequence[Epoch]) -> dict[str, float]:
    """A trial's headline numbers, none without an epoch: `best_test_error` is the mean over the seeds of each one's
    minimum over the epochs, `seed_epoch_s` the seconds of one epoch of one seed."""
    if not epochs:
        return {}
    summary: dict[str, float] = {}
    for name in epochs[0].metrics:
        if name.endswith("_error") and not name.startswith(OWN):
            best = [min(values) for values in zip(*(epoch.metrics[name] for epoch in epochs), strict=True)]
            summary[f"best_{name}"] = sum(best) / len(best)
    seeds = len(next(iter(epochs[0].metrics.values())))
    summary[TRAINING_S] = sum(epoch.seconds for epoch in epochs)
    summary[SEED_EPOCH_S] = summary[TRAINING_S] / len(epochs) / seeds
    return summary
