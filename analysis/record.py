"""The record as plain data: what sweeps wrote to MLflow, read back. Everything in analysis/ is computed from this."""

import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from pydantic import ValidationError

from analysis.origin import recorded_origin
from analysis.trial_tags import read_tags
from analysis.unreadable import first_problem, name_once, read_arrays
from trainable.config import Config
from trainable.measures import Measure
from trainable.search_definition import ResolvedSearch
from trainable.study import ResolvedTable, StudyFile
from trainable.trial import TrialEnd

ROLE = "role"
"""Tag that tells a `sweep` (parent) run from a `trial` (child) run."""
PROBED = "probe_every"
"""Tag of a trial whose loss was probed along the gradient: once in how many steps."""
FILES = "files"
"""Tag of a trial: the files of arrays that the record has of it."""
REFERENCE = "reference"
"""Tag of a search's trial that its winner is compared with: see `StartPoint.reference`."""
VAL_ERROR = "val_error"
"""Metric that a search minimises: the error on what protocol B holds out, after the last epoch."""
WINNER_METRIC = "winner_test_error"
"""Metric of a search's winner alone: the mean of its test errors over the seeds of its proof. Before there were proofs
it was the error of the one training that the search had made."""
WINNER = "winner"
"""Tag of a search's winner, whatever its value."""
CHAMPION = "champion"
"""Alias of a registered model's best version, and tag of the trial that it was trained in: the model's name."""
PROVEN = "proven_seeds"
"""Tag of a search's winner: how many seeds its recorded proof has. It is the last thing that is written of a winner."""
REPORTED = "reported"
"""Tag of a sweep whose report is written. It is the last thing that is written of a sweep."""
TRAINING_S = "training_s"
"""Metric of a trial: the seconds that its epochs took, all seeds together."""
PLAN_FILE = "plan.json"
"""Artifact of a sweep: its tables with the key of every row."""
STUDY_FOLDER = "study"
"""Folder of a sweep's artifacts with the file that its study was read from, where it was."""
SEARCHES_FILE = "searches.json"
"""Artifact of a sweep: the definitions of its searches."""

ARRAYS_FOLDER = "model"
"""Folder of a trial's artifacts with its files of arrays."""

READERS = 8
"""Threads that read histories: a server answers one request a metric."""

Value = TypeVar("Value")
Series = list[tuple[int, float]]
"""(step, value) by ascending step."""


def per_seed(metric: str, seed: int) -> str:
    """MLflow's name of one seed's value of a metric. The prefix folds those of all metrics in the UI."""
    return f"per_seed/{metric}_{seed}"


def _of_seed(values: Mapping[str, Value], metric: str, seed: int) -> Value | None:
    """What is recorded of one seed's metric, also under the name that it had in earlier records."""
    return values.get(per_seed(metric, seed), values.get(f"{metric}/seed_{seed}"))


@dataclass(frozen=True)
class TrialRecord:
    """One recorded trial: a config trained for some seeds."""

    key: str
    name: str
    config: Config
    seeds: tuple[int, ...]
    status: str
    """MLflow's: `FINISHED` means that all epochs ran, or that the search's scheduler stopped it."""
    sweep: str
    """The run id of its sweep; empty where it has lost that."""
    tags: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    """The last value of each metric, by MLflow's name: the seeds' mean under `test_error`, each seed's under the name
    that `per_seed` makes of it."""
    histories: dict[str, Series] = field(default_factory=dict)
    """Every value of each metric, by the same names; empty until `Record.with_histories` has read them."""
    run_id: str = ""
    start_time: int = 0
    """Milliseconds since 1970; 0 in an old export."""

    @property
    def complete(self) -> bool:
        """Whether every epoch ran and is recorded."""
        return self.status == "FINISHED" and self.tags.get("outcome") == TrialEnd.COMPLETE

    @property
    def files(self) -> list[str]:
        """The names of the files of arrays that the record has of it."""
        return self.tags.get(FILES, "").split()

    def has(self, name: str) -> bool:
        """Whether the record has that file of arrays of it (`WEIGHTS`, `TRACES`, `SURFACE`)."""
        return name in self.files

    def last_by_seed(self, metric: str) -> dict[int, float]:
        """A metric's last value for each seed that has one."""
        values = {seed: _of_seed(self.metrics, metric, seed) for seed in self.seeds}
        return {seed: value for seed, value in values.items() if value is not None}

    def by_seed(self, metric: str) -> dict[int, Series]:
        """A metric's history for each seed."""
        return {seed: _of_seed(self.histories, metric, seed) or [] for seed in self.seeds}


@dataclass(frozen=True)
class SweepRecord:
    """One recorded sweep."""

    run_id: str
    name: str
    start_time: int
    """Milliseconds since 1970."""
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    tables: tuple[ResolvedTable, ...]
    searches: tuple[ResolvedSearch, ...] = ()
    study_file: StudyFile | None = None


class Source(Protocol):
    """Where a report reads: a tracking server, or an exported folder."""

    def sweeps(self) -> list[SweepRecord]:
        """All recorded sweeps with their tables, oldest first."""

    def histories(self) -> list[TrialRecord]:
        """All finished trials with every value of each metric, oldest first."""

    def unfinished(self) -> list[TrialRecord]:
        """All trials that failed, were interrupted or still run, likewise."""

    def origin(self, sweep: SweepRecord) -> dict[str, str]:
        """What the record has of a sweep's packages and changes to the code, by file name (`ORIGIN_FILES`)."""

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        """The arrays of one of the trial's recorded files (`WEIGHTS`, `TRACES`); empty where there is no such file."""


class Record:
    """Reads one experiment of a tracking server or store."""

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        self.client = MlflowClient(tracking_uri)
        self.experiment = experiment
        existing = self.client.get_experiment_by_name(experiment)
        self.experiment_id = existing.experiment_id if existing else None
        self.deleted = existing is not None and existing.lifecycle_stage == LifecycleStage.DELETED

    def trials(self) -> list[TrialRecord]:
        """All recorded trials that can be read, oldest first, with the last value of each metric."""
        return self._readable((run for run in self._runs() if _is_trial(run)), _trial)

    def histories(self) -> list[TrialRecord]:
        """See `Source`."""
        return self.with_histories(trial for trial in self.trials() if trial.status == "FINISHED")

    def unfinished(self) -> list[TrialRecord]:
        """See `Source`."""
        return self.with_histories(trial for trial in self.trials() if trial.status != "FINISHED")

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
        """The trials with every value of each metric, or of those named in `only`."""
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(lambda trial: self._with_history(trial, only), trials))

    def _with_history(self, trial: TrialRecord, only: Collection[str]) -> TrialRecord:
        names = [name for name in trial.metrics if name in only or not only]
        return replace(trial, histories={name: self._history(trial.run_id, name) for name in names})

    def sweeps(self) -> list[SweepRecord]:
        """All recorded sweeps that can be read with their tables, oldest first."""
        return self._readable(self._runs(f"tags.{ROLE} = 'sweep'"), self._sweep)

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

    def _runs(self, query: str = "") -> Iterator[Run]:
        token = None
        while self.experiment_id is not None:
            page = self.client.search_runs(
                [self.experiment_id], query, max_results=1000, order_by=["start_time ASC"], page_token=token
            )
            yield from page
            if not (token := page.token):
                return

    def _history(self, run_id: str, name: str) -> Series:
        values = sorted(
            self.client.get_metric_history(run_id, name), key=lambda metric: (metric.step, metric.timestamp)
        )
        return list({metric.step: metric.value for metric in values}.items())

    def _sweep(self, run: Run) -> SweepRecord:
        return SweepRecord(
            run_id=run.info.run_id,
            name=_name(run),
            start_time=run.info.start_time,
            status=run.info.status,
            tags=_own_tags(run),
            params=run.data.params,
            tables=tuple(ResolvedTable(**table) for table in self._listed(run.info.run_id, PLAN_FILE)),
            searches=tuple(ResolvedSearch(**search) for search in self._listed(run.info.run_id, SEARCHES_FILE)),
            study_file=self._study_file(run.info.run_id),
        )

    def _study_file(self, run_id: str) -> StudyFile | None:
        for file in self.client.list_artifacts(run_id, STUDY_FOLDER):
            with tempfile.TemporaryDirectory() as folder:
                text = Path(self.client.download_artifacts(run_id, file.path, folder)).read_text("utf-8")
            return StudyFile(Path(file.path).name, text)
        return None

    def _listed(self, run_id: str, name: str) -> list[dict[str, Any]]:
        """The content of a sweep's artifact that is a JSON list; empty where there is no such artifact."""
        if not any(file.path == name for file in self.client.list_artifacts(run_id)):
            return []
        with tempfile.TemporaryDirectory() as folder:
            return json.loads(Path(self.client.download_artifacts(run_id, name, folder)).read_text("utf-8"))


def _is_trial(run: Run) -> bool:
    """Whether a run is a trial's, also where it has lost the tag that says so."""
    role = run.data.tags.get(ROLE)
    return role == "trial" or (role != "sweep" and "key" in run.data.tags)


def _trial(run: Run) -> TrialRecord:
    tags = run.data.tags
    if tags.get(ROLE) != "trial":
        raise ValueError(f"tag {ROLE} {tags.get(ROLE)!r}: must be 'trial'")
    parsed = read_tags(tags)
    return TrialRecord(
        key=parsed.key,
        name=_name(run),
        config=parsed.config,
        seeds=parsed.seeds,
        status=run.info.status,
        sweep=tags.get(MLFLOW_PARENT_RUN_ID, ""),
        tags=_own_tags(run),
        metrics=dict(run.data.metrics),
        run_id=run.info.run_id,
        start_time=run.info.start_time,
    )


def _name(run: Run) -> str:
    return run.data.tags.get(MLFLOW_RUN_NAME) or run.info.run_id


def _own_tags(run: Run) -> dict[str, str]:
    return {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}


def ranked(searched: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials of a search that ran to their last epoch, that with the lowest validation error there first."""
    complete = (trial for trial in searched if trial.complete and VAL_ERROR in trial.metrics)
    return sorted(complete, key=lambda trial: trial.metrics[VAL_ERROR])


def errors_by_seed(trials: Iterable[TrialRecord], key: str, metric: str) -> dict[int, float]:
    """The last value of a metric of a key's complete trainings (oldest first), by ascending seed. Where a seed was
    trained more than once, its first training counts, as in `Replicates.by_seed`."""
    errors: dict[int, float] = {}
    for trial in trials:
        if trial.complete and trial.key == key:
            errors = trial.last_by_seed(metric) | errors
    return dict(sorted(errors.items()))


def recorded_seeds(trials: Iterable[TrialRecord], measure: Measure) -> dict[str, set[int]]:
    """By key, the seeds whose training the record has to its last epoch, with what is measured of it."""
    seeds: dict[str, set[int]] = {}
    for trial in trials:
        if trial.complete:
            probed = PROBED in trial.tags
            measured = {seed for seed in trial.seeds if measure.is_recorded(seed, trial.files, probed)}
            seeds.setdefault(trial.key, set()).update(measured)
    return seeds
