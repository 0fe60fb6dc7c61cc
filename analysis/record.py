"""The record as plain data: what sweeps wrote to MLflow, read back. Everything in analysis/ is computed from this."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from trainable.config import Config
from trainable.study import PlacedTable

ROLE = "role"
"""Tag that tells a `sweep` (parent) run from a `trial` (child) run."""
PLAN_FILE = "plan.json"
"""Artifact of a sweep: its tables with the key of every row."""

Series = list[tuple[int, float]]
"""(step, value) by ascending step."""


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
    """The id of the sweep's run."""
    tags: dict[str, str]
    metrics: dict[str, Series] = field(default_factory=dict)
    """By MLflow's name: the seeds' mean under `test_error`, each seed's under `test_error/seed_0`. Only the last value
    of each, where the histories were not asked for."""
    run_id: str = ""

    @property
    def complete(self) -> bool:
        """Whether every epoch ran and is recorded."""
        return self.status == "FINISHED" and self.tags.get("outcome") == "complete"

    def by_seed(self, metric: str) -> dict[int, Series]:
        """A metric's history for each seed."""
        return {seed: self.metrics.get(f"{metric}/seed_{seed}", []) for seed in self.seeds}


@dataclass(frozen=True)
class SweepRecord:
    """One recorded sweep."""

    id: str
    name: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    tables: tuple[PlacedTable, ...]


class Record:
    """Reads one experiment of a tracking server or store."""

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        self.client = MlflowClient(tracking_uri)
        self.experiment = experiment
        found = self.client.get_experiment_by_name(experiment)
        self._experiment_id = found.experiment_id if found else None

    def trials(self, *, histories: bool = False, sweep: str | None = None) -> list[TrialRecord]:
        """All recorded trials, oldest first; of one sweep only where its id is given."""
        where = f" and tags.`{MLFLOW_PARENT_RUN_ID}` = '{sweep}'" if sweep else ""
        return [self._trial(run, histories) for run in self._runs(f"tags.{ROLE} = 'trial'{where}")]

    def sweeps(self) -> list[SweepRecord]:
        """All recorded sweeps with their tables, oldest first."""
        return [self._sweep(run) for run in self._runs(f"tags.{ROLE} = 'sweep'")]

    def _runs(self, query: str) -> Iterator[Run]:
        token = None
        while self._experiment_id is not None:
            page = self.client.search_runs(
                [self._experiment_id], query, max_results=1000, order_by=["start_time ASC"], page_token=token
            )
            yield from page
            if not (token := page.token):
                return

    def _trial(self, run: Run, histories: bool) -> TrialRecord:
        tags = run.data.tags
        if histories:
            metrics = {name: self.history(run.info.run_id, name) for name in run.data.metrics}
        else:
            metrics = {name: [(-1, value)] for name, value in run.data.metrics.items()}
        return TrialRecord(
            key=tags["key"],
            name=tags[MLFLOW_RUN_NAME],
            config=Config(**json.loads(tags["config"])),
            seeds=tuple(json.loads(tags["seeds"])),
            status=run.info.status,
            sweep=tags[MLFLOW_PARENT_RUN_ID],
            tags={name: value for name, value in tags.items() if not name.startswith("mlflow.")},
            metrics=metrics,
            run_id=run.info.run_id,
        )

    def history(self, run_id: str, name: str) -> Series:
        """All values of one metric of a run."""
        return sorted((m.step, m.value) for m in self.client.get_metric_history(run_id, name))

    def _sweep(self, run: Run) -> SweepRecord:
        tags: dict[str, Any] = run.data.tags
        return SweepRecord(
            id=run.info.run_id,
            name=tags[MLFLOW_RUN_NAME],
            status=run.info.status,
            tags={name: value for name, value in tags.items() if not name.startswith("mlflow.")},
            params=run.data.params,
            tables=self._tables(run.info.run_id),
        )

    def _tables(self, run_id: str) -> tuple[PlacedTable, ...]:
        if not any(file.path == PLAN_FILE for file in self.client.list_artifacts(run_id)):
            return ()
        path = self.client.download_artifacts(run_id, PLAN_FILE)
        with open(path, encoding="utf-8") as file:
            return tuple(PlacedTable(**table) for table in json.load(file))


def recorded_seeds(trials: list[TrialRecord]) -> dict[str, set[int]]:
    """The seeds that the record has of every key: trials that ran to their last epoch."""
    seeds: dict[str, set[int]] = {}
    for trial in trials:
        if trial.complete:
            seeds.setdefault(trial.key, set()).update(trial.seeds)
    return seeds
