"""Reads a record: what sweeps wrote to MLflow, as plain data. Everything in analysis/ is computed from this."""

import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from sys import intern
from typing import TypeVar

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from pydantic import ValidationError

from analysis.record.origin import recorded_origin
from analysis.record.recorded import (
    ARRAYS_FOLDER,
    CURVES,
    PLAN_FILE,
    ROLE,
    SEARCHES_FILE,
    STUDY_FOLDER,
    Role,
    RunStatus,
    Series,
    SweepRecord,
    TrialRecord,
    metric_of,
)
from analysis.record.trial_tags import read_tags
from analysis.record.unreadable import name_once, read_arrays
from trainable.problem import first_problem
from trainable.resolved_search import ResolvedSearch
from trainable.study import ResolvedTable, StudyFile

PAGE = 200
"""Runs that are asked for at once: MLflow takes some 100 KiB for each while it answers."""
READERS = 8
"""Threads that read histories: a server answers one request a metric."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class _Studies:
    """The tables, the searches and the study file of a sweep's run."""

    tables: tuple[ResolvedTable, ...]
    searches: tuple[ResolvedSearch, ...]
    study_file: StudyFile | None


class Record:
    """Reads one experiment of a tracking server or store."""

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        self.client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
        self.experiment = experiment
        existing = self.client.get_experiment_by_name(experiment)
        self.experiment_id = existing.experiment_id if existing else None
        self.deleted = existing is not None and existing.lifecycle_stage == LifecycleStage.DELETED
        self._ended: dict[str, _Studies] = {}
        """Those of sweeps that have ended, by run id. They are final, and reading them takes most of the time that
        `sweeps` takes."""

    def trials(self) -> list[TrialRecord]:
        """All recorded trials that can be read, oldest first, with the last value of each metric."""
        return self._readable((run for run in self._runs() if _is_trial(run)), _trial)

    def histories(self) -> list[TrialRecord]:
        """See `Source`. Without those that lack an epoch: see `without_gaps`."""
        return without_gaps(self.with_histories(self.trials(), CURVES))

    def origin(self, sweep: SweepRecord) -> dict[str, str]:
        """See `Source`."""
        return recorded_origin(self.client, sweep.run_id)

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        """See `Source`."""
        if not trial.has(name):
            return {}
        path = f"{ARRAYS_FOLDER}/{name}"
        if all(file.path != path for file in self.client.list_artifacts(trial.run_id, ARRAYS_FOLDER)):
            name_once({f"{trial.run_id}/{name}": f"{name} of {trial.run_id}: the file is lost"})
            return {}
        with tempfile.TemporaryDirectory() as folder:
            return read_arrays(Path(self.client.download_artifacts(trial.run_id, path, folder)), trial.run_id)

    def with_histories(self, trials: Iterable[TrialRecord], only: Collection[str] = ()) -> list[TrialRecord]:
        """The trials with every value of each metric, or of the metrics in `only`: of each seed and of all together."""
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(lambda trial: self._with_history(trial, only), trials))

    def _with_history(self, trial: TrialRecord, only: Collection[str]) -> TrialRecord:
        names = [name for name in trial.metrics if not only or metric_of(name) in only]
        return replace(trial, histories={name: self._history(trial.run_id, name) for name in names})

    def sweeps(self) -> list[SweepRecord]:
        """All recorded sweeps that can be read with their tables, oldest first."""
        return self._readable(self._runs(f"tags.{ROLE} = '{Role.SWEEP}'"), self._sweep)

    def running(self) -> list[Run]:
        """The runs of sweeps and trials that have not ended, or whose driver died before it could end them."""
        return list(self._runs("attributes.status = 'RUNNING'"))

    def _readable(self, runs: Iterable[Run], read: Callable[[Run], Value]) -> list[Value]:
        """What is read of the runs. One that is edited, or of another version, blocks no others: it is named once."""
        values, unreadable = [], {}
        for run in runs:
            try:
                values.append(read(run))
            except (ValueError, TypeError) as error:
                why = first_problem(error) if isinstance(error, ValidationError) else error
                unreadable[run.info.run_id] = f"{_name(run)} ({run.info.run_id}): {why}"
        name_once(unreadable)
        return values

    def deleted_runs(self) -> list[Run]:
        """The runs that a person has deleted."""
        return list(self._runs(view=ViewType.DELETED_ONLY))

    def _runs(self, query: str = "", view: int = ViewType.ACTIVE_ONLY) -> Iterator[Run]:
        return all_runs(self.client, self.experiment_id, query, view) if self.experiment_id else iter(())

    def _history(self, run_id: str, name: str) -> Series:
        values = sorted(
            self.client.get_metric_history(run_id, name), key=lambda metric: (metric.step, metric.timestamp)
        )
        return list({metric.step: metric.value for metric in values}.items())

    def _sweep(self, run: Run) -> SweepRecord:
        run_id, status = run.info.run_id, RunStatus(run.info.status)
        studies = self._ended.get(run_id) or self._studies(run_id)
        if status != RunStatus.RUNNING:
            self._ended[run_id] = studies
        return SweepRecord(
            run_id=run_id,
            name=_name(run),
            start_time=run.info.start_time,
            status=status,
            tags=_own_tags(run),
            params=run.data.params,
            tables=studies.tables,
            searches=studies.searches,
            study_file=studies.study_file,
        )

    def _studies(self, run_id: str) -> _Studies:
        files = {file.path for file in self.client.list_artifacts(run_id)}
        tables, searches = (
            json.loads(self._text(run_id, name)) if name in files else [] for name in (PLAN_FILE, SEARCHES_FILE)
        )
        study_files = self.client.list_artifacts(run_id, STUDY_FOLDER) if STUDY_FOLDER in files else []
        return _Studies(
            tables=tuple(ResolvedTable(**table) for table in tables),
            searches=tuple(ResolvedSearch(**search) for search in searches),
            study_file=next((StudyFile(Path(f.path).name, self._text(run_id, f.path)) for f in study_files), None),
        )

    def _text(self, run_id: str, path: str) -> str:
        """The content of an artifact."""
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run_id, path, folder)).read_text("utf-8")


def without_gaps(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials, whose histories are read, without those that are complete and lack an epoch. Figures need every
    epoch, so these are named once, with what to do."""
    trials = list(trials)
    lacking = {
        each.run_id: f"{each.name} ({each.run_id}): {missing}; delete the run to train it again"
        for each in trials
        if (missing := each.missing_epochs)
    }
    name_once(lacking)
    return [each for each in trials if each.run_id not in lacking]


def all_runs(
    client: MlflowClient, experiment_id: str, query: str = "", view: int = ViewType.ACTIVE_ONLY
) -> Iterator[Run]:
    """All runs of an experiment that a query of MLflow finds, oldest first. `search_runs` alone returns 1,000 at
    most."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], query, view, max_results=PAGE, order_by=["start_time ASC"], page_token=token
        )
        yield from page
        if not (token := page.token):
            return


def _is_trial(run: Run) -> bool:
    """Whether a run is a trial's, also where it has lost the tag that says so."""
    role = run.data.tags.get(ROLE)
    return role == Role.TRIAL or (role != Role.SWEEP and "key" in run.data.tags)


def _trial(run: Run) -> TrialRecord:
    tags = run.data.tags
    if tags.get(ROLE) != Role.TRIAL:
        raise ValueError(f"tag {ROLE} {tags.get(ROLE)!r}: must be '{Role.TRIAL}'")
    parsed = read_tags(tags)
    return TrialRecord(
        key=parsed.key,
        name=_name(run),
        config=parsed.config,
        seeds=parsed.seeds,
        status=RunStatus(run.info.status),
        sweep=tags.get(MLFLOW_PARENT_RUN_ID, ""),
        tags=_own_tags(run),
        metrics={intern(name): value for name, value in run.data.metrics.items()},
        run_id=run.info.run_id,
        start_time=run.info.start_time,
    )


def _name(run: Run) -> str:
    return run.data.tags.get(MLFLOW_RUN_NAME) or run.info.run_id


def _own_tags(run: Run) -> dict[str, str]:
    """All but MLflow's. Thousands of trials have the same ones, and share one string of each."""
    return {intern(name): intern(value) for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
