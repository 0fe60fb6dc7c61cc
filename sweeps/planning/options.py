"""What a sweep was asked to do, validated."""

import os
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from analysis.prices import NO_PRICES, Prices
from sweeps.planning.budget import Budget
from sweeps.planning.resources import Resources
from sweeps.studies.calibration import calibration_study
from sweeps.studies.registry import STUDIES, check_tables
from trainable.config import PRECISIONS
from trainable.frozen import check_short
from trainable.image_set import CIFAR10, DIGITS, ImageSet
from trainable.problem import unknown
from trainable.study import MOST_SEEDS, Study, StudyFile

SMALLEST_SHARE = 0.001
"""The smallest part of a CPU, of a GPU or of a GB that a trial may ask for."""


def check_experiment(name: str) -> str:
    """Return the name of an experiment, which also names a folder and a registered model. Raises `ValueError` for one
    that cannot."""
    return _without("/\\:'\"#?%", name)


def _check_sweep(name: str) -> str:
    """Return the name of a sweep, which also names a folder. Raises `ValueError` for one that cannot."""
    return _without("/\\", name)


def _without(characters: str, name: str) -> str:
    if not name.strip(" .") or not name.isprintable() or set(name) & set(characters):
        raise ValueError(f"must be one line of printable characters without {' '.join(characters)}")
    return check_short(name)


class Options(BaseModel):
    """What a sweep was asked to do. Build it with `sweeps.planning.parse.parse`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = None
    """Of a cluster; None for a local Ray."""
    data: ImageSet
    data_dir: str | None = None
    studies: tuple[str, ...]
    """Names of built-in studies, and of the one in `study_file`."""
    study_file: StudyFile | None = None
    own_study: Study | None = None
    """The study in `study_file`."""
    only: tuple[str, ...] = ()
    epochs: int = Field(ge=1, le=100_000)
    epochs_given: bool
    """Whether the epochs were asked for, so that no table takes fewer on a CPU."""
    seeds: int = Field(ge=1, le=MOST_SEEDS)
    samples: int = Field(ge=1, le=10_000)
    calibrate: int | None = Field(default=None, ge=1, le=10_000)
    """Random configs to train to their end in place of a search."""
    budget: Budget | None = None
    proof_seeds: int = Field(ge=1, le=MOST_SEEDS)
    """Seeds of the search's winner, and of the config that it is compared with, on the whole train split."""
    difference_seeds: int = Field(default=0, ge=0, le=MOST_SEEDS)
    """Seeds of the winner with each of its differences taken back; with 0 it is not done."""
    precision: str | None = None
    gpus_per_trial: float | None = Field(default=None, ge=0, le=1_000)
    gpu_memory_per_trial: float | None = Field(default=None, ge=SMALLEST_SHARE, le=100_000)
    cpus_per_trial: float = Field(ge=SMALLEST_SHARE, le=10_000)
    slots: int | None = Field(default=None, ge=1, le=100_000)
    """The most trials at the same time, for which a cluster may start nodes; None: as many as its nodes hold."""
    prices: Prices = NO_PRICES
    tracking_uri: str
    experiment: Annotated[str, AfterValidator(check_experiment)]
    storage_path: str = Field(min_length=1)
    name: Annotated[str, AfterValidator(_check_sweep)] | None = None
    notify: SecretStr | None = None
    """The URL to tell of the sweep. A part of it may be a token."""
    changes: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self) -> "Options":
        if self.precision is not None and self.precision not in PRECISIONS:
            raise ValueError(f"--precision {self.precision!r} {unknown(self.precision, PRECISIONS)}")
        studies = self._known_studies
        if self.own_study and self.own_study.name in STUDIES:
            raise ValueError(
                f"--study: the name {self.own_study.name!r} is a built-in study's; rename the file, or give the "
                "study a name of its own"
            )
        for name in self.studies:
            if name not in studies:
                raise ValueError(f"--studies {name!r} {unknown(name, list(studies))}")
        check_tables(studies.values())
        if self.calibrate and not self.study_with_search:
            raise ValueError(f"--calibrate {self.calibrate}: none of the chosen studies has a search")
        if self.calibrate and self.only and self.study_with_search:
            number = self.study_with_search.required_search.calibration_number
            if number not in self.only:
                raise ValueError(f"--calibrate {self.calibrate} is table {number}, which --only leaves out")
        if len(searches := [study.name for study in self.chosen_studies if study.search]) > 1:
            raise ValueError(f"a sweep runs one search; {' and '.join(searches)} are two: run them one after another")
        numbers = [table.number for study in self.chosen_studies for table in study.tables]
        for number in self.only:
            if not numbers:
                raise ValueError(f"--only {number!r}: the chosen studies have no tables of their own")
            if number not in numbers:
                allowed = ", ".join(numbers)
                raise ValueError(f"--only {number!r} is not a table of the chosen studies; allowed: {allowed}")
        if self.gpu_memory_per_trial and self.gpus_per_trial == 0:
            raise ValueError("--gpu-memory-per-trial needs --gpus-per-trial above 0")
        if self.gpus_per_trial and self.gpus_per_trial < SMALLEST_SHARE:
            raise ValueError(f"--gpus-per-trial {self.gpus_per_trial}: must be 0 or at least {SMALLEST_SHARE}")
        if self.gpus_per_trial is not None and self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"--gpus-per-trial {self.gpus_per_trial} must be a fraction below 1 or a whole number")
        return self

    def sweep_name(self) -> str:
        """The name that was asked for, or one of the studies and the time."""
        return self.name or f"{'-'.join(self.studies)}-{datetime.now():%Y%m%d-%H%M%S}"

    @property
    def trial_data_dir(self) -> str | None:
        """Where processes elsewhere, which have neither this environment nor this folder, find the data; None where
        they need no folder of the user's."""
        if self.data == DIGITS:
            return None
        named = self.data_dir or (os.environ.get("CIFAR10_DIR") if self.data == CIFAR10 else None)
        return named if not named or "://" in named else str(Path(named).expanduser().absolute())

    @cached_property
    def chosen_studies(self) -> tuple[Study, ...]:
        """The studies to run, in the order in which they were named. With `calibrate`, a search's calibration stands in
        its place."""
        chosen = (self._known_studies[name] for name in self.studies)
        if self.calibrate is None:
            return tuple(chosen)
        calibrated: list[Study] = []
        for study in chosen:
            if study.tables or not study.search:
                calibrated.append(study.model_copy(update={"search": None}))
            if study.search:
                calibrated.append(calibration_study(study, self.calibrate, self.epochs))
        return tuple(calibrated)

    @property
    def _known_studies(self) -> dict[str, Study]:
        return STUDIES | ({self.own_study.name: self.own_study} if self.own_study else {})

    @property
    def study_with_search(self) -> Study | None:
        """The chosen study that has a search, if any."""
        named = (self._known_studies[name] for name in self.studies)
        return next((study for study in named if study.search), None)

    @property
    def study_to_search(self) -> Study | None:
        """The same; None with `calibrate`, which runs in place of the search."""
        return None if self.calibrate else self.study_with_search

    @property
    def requested(self) -> Resources:
        """What a trial was asked to get, with no GPU where nothing was said."""
        return Resources(self.cpus_per_trial, self.gpus_per_trial or 0, self.gpu_memory_per_trial or 0)

    @property
    def base(self) -> dict[str, Any]:
        """What the sweep changes in every config."""
        precision = {"precision": self.precision} if self.precision else {}
        return {"data": self.data, "epochs": self.epochs, **precision, **self.changes}
