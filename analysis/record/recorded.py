"""What the record holds, as plain data: trials and sweeps, and the names under which MLflow keeps what is known of
them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from trainable.config import Config
from trainable.measures import Measure
from trainable.resolved_search import ResolvedSearch
from trainable.study import ResolvedTable, StudyFile
from trainable.trial import TrialEnd


class RunStatus(StrEnum):
    """MLflow's status of a run."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    """Of a trial: all epochs ran, or the search's scheduler stopped it. Of a sweep: all is recorded."""
    FAILED = "FAILED"
    KILLED = "KILLED"
    """It was interrupted."""


class Role(StrEnum):
    """What a run is: the values of the tag `ROLE`."""

    SWEEP = "sweep"
    """The parent run of its trials."""
    TRIAL = "trial"


ROLE = "role"
"""Tag of every run: a `Role`."""
TABLE, ROW = "table", "row"
"""Tags of a trial: its tables and its rows, with commas between. Those of a search's trial are the study and the
trial's name."""
PROBED = "probe_every"
"""Tag of a trial whose loss was probed along the gradient: once in how many steps."""
FILES = "files"
"""Tag of a trial: the files of arrays that the record has of it."""
REFERENCE = "reference"
"""Tag of the search trial whose error is shown beside the winner's: see `StartPoint.reference`."""
OUTCOME = "outcome"
"""Tag of a trial: how it ended, a `TrialEnd`."""
STUDY = "study"
"""Tag of a trial: the study that it was trained for, or several with commas between."""
FINGERPRINT, DATA_FORM = "data_fingerprint", "data_form"
"""Tags of every run: the data's fingerprint, and the form of its files."""
SEEDS, SLOTS = "seeds", "slots"
"""Parameters of a sweep: the seeds of each row that does not ask for its own number, and how many trials ran at the
same time."""
CPUS_PER_TRIAL, GPUS_PER_TRIAL = "cpus_per_trial", "gpus_per_trial"
"""Parameters of a sweep: what each of its trials got."""
DEVICE, DEVICE_NAME = "device", "device_name"
"""Tags of a trial, as `trainable.trial.Environment` names them."""
EPOCH_S, SEED_EPOCH_S = "epoch_s", "seed_epoch_s"
"""Metrics of a trial: the seconds of each epoch, all seeds together, and the mean seconds of one epoch of one seed."""
VAL_ERROR = "val_error"
"""Metric that a search minimises: the error on what protocol B holds out, after the last epoch."""
WINNER_METRIC = "winner_test_error"
"""Metric of a search's winner alone: the mean of its test errors over the seeds of its proof. Before there were proofs
it was the error of the one training that the search had made."""
WINNER = "winner"
"""Tag of the trial that won a search. Only that it is there counts."""
CHAMPION = "champion"
"""Alias of a registered model's best version, and tag of the trial that it was trained in: the model's name."""
PROVEN = "proven_seeds."
"""Tag of a search's winner, followed by the name of the search's study: one trial may win several searches. Its value
is how many seeds the recorded proof has. It is the last thing that is written of a winner."""
REPORTED = "reported"
"""Tag of a sweep whose report is written. It is the last thing that is written of a sweep."""
CURVES = ("train_error", "test_error", VAL_ERROR, f"raw_{VAL_ERROR}", EPOCH_S)
"""Metrics of which a report reads every value, of each seed and of all together."""
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

Value = TypeVar("Value")
Series = list[tuple[int, float]]
"""(step, value) by ascending step."""


def per_seed(metric: str, seed: int) -> str:
    """MLflow's name of one seed's value of a metric. The prefix folds those of all metrics in the UI."""
    return f"per_seed/{metric}_{seed}"


def metric_of(name: str) -> str:
    """The metric of one of MLflow's names, whether of one seed or of all. The inverse of `per_seed`, also for the names
    of earlier records."""
    if name.startswith("per_seed/"):
        return name.removeprefix("per_seed/").rpartition("_")[0]
    return name.partition("/seed_")[0]


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
    status: RunStatus
    sweep: str
    """The run id of its sweep; empty where it has lost that."""
    tags: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    """The last value of each metric, by MLflow's name: the seeds' mean under `test_error`, each seed's under the name
    that `per_seed` makes of it."""
    histories: dict[str, Series] = field(default_factory=dict)
    """Every value of the metrics that `Record.with_histories` has read, by the same names."""
    run_id: str = ""
    start_time: int = 0
    """Milliseconds since 1970; 0 in an old export."""

    @property
    def complete(self) -> bool:
        """Whether every epoch ran and is recorded."""
        return self.status == RunStatus.FINISHED and self.tags.get(OUTCOME) == TrialEnd.COMPLETE

    @cached_property
    def is_of_this_recipe(self) -> bool:
        """Whether its config would have its key now. One that was trained by an earlier version of the training recipe
        has another key."""
        return self.key == self.config.key(self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its data; empty where it is not recorded."""
        return self.tags.get(FINGERPRINT, "")

    @property
    def studies(self) -> list[str]:
        """The studies that it was trained for."""
        return list(filter(None, self.tags.get(STUDY, "").split(", ")))

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

    @property
    def missing_epochs(self) -> str:
        """Which error a complete trial lacks of some epochs, in a few words; empty where its histories have all, and
        for a trial that is not complete."""
        epochs = list(range(1, self.config.epochs + 1))
        for metric in ("train_error", self.config.held_out) if self.complete else ():
            for seed, series in self.by_seed(metric).items():
                if [step for step, _ in series] != epochs:
                    return f"seed {seed} lacks the {metric} of some of {self.config.epochs} epochs"
        return ""


@dataclass(frozen=True)
class SweepRecord:
    """One recorded sweep."""

    run_id: str
    name: str
    start_time: int
    """Milliseconds since 1970."""
    status: RunStatus
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
        """All trials, however they ended and also while they run, with every value of the metrics in `CURVES`, oldest
        first."""

    def origin(self, sweep: SweepRecord) -> dict[str, str]:
        """What the record has of a sweep's packages and changes to the code, by file name (`ORIGIN_FILES`)."""

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        """The arrays of one of the trial's recorded files (`WEIGHTS`, `TRACES`); empty where there is no such file."""


def ranked(searched: Iterable[TrialRecord]) -> list[TrialRecord]:
    """One trial for each config of a search that ran to its last epoch, the lowest validation error first. If a config
    was trained more than once, its first complete trial counts, as in `Replicates.by_seed`."""
    complete: dict[str, TrialRecord] = {}
    for trial in sorted(searched, key=lambda trial: trial.start_time):
        if trial.complete and VAL_ERROR in trial.metrics:
            complete.setdefault(trial.key, trial)
    return sorted(complete.values(), key=lambda trial: trial.metrics[VAL_ERROR])


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
