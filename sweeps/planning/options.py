"""The command line's options, validated: each problem is one line, before anything is started."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from analysis.embedded import uri_of
from analysis.prices import NO_PRICES, Prices, parse_prices
from sweeps.errors import UsageError
from sweeps.notifier import check_url
from sweeps.planning.budget import Budget, parse_budget
from sweeps.planning.resources import Resources
from sweeps.studies.calibration import calibration_study
from sweeps.studies.config_file import read_config
from sweeps.studies.registry import STUDIES, check_numbers
from sweeps.studies.study_file import read_study
from trainable.config import PRECISIONS
from trainable.data import NAMES
from trainable.frozen import check_short
from trainable.problem import first_problem
from trainable.study import Study, StudyFile

DEFAULT_STUDIES = "tables,corrections,search"
QUICK: dict[str, Any] = {"data": "digits", "epochs": 2, "samples": 4, "proof_seeds": 2}
"""What `--quick` changes in the defaults."""
MOST_SEEDS = 1_000
SMALLEST_SHARE = 0.001
"""The smallest part of a CPU, of a GPU or of a GB that a trial may ask for."""
DEFAULTS: dict[str, Any] = {"data": "cifar10", "epochs": 20, "samples": 20, "proof_seeds": 3}


def check_experiment(name: str) -> str:
    """Return the name of an experiment, which also names a folder and a registered model. Raises `ValueError` for one
    that cannot."""
    return _without("/\\:'\"#?%", name)


def _check_sweep(name: str) -> str:
    """Likewise for a sweep, whose name is a folder's."""
    return _without("/\\", name)


def _without(characters: str, name: str) -> str:
    if not name.strip(" .") or not name.isprintable() or set(name) & set(characters):
        raise ValueError(f"must be one line of printable characters without {' '.join(characters)}")
    return check_short(name)


class Options(BaseModel):
    """What a sweep was asked to do. Build it with `parse`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = None
    """Of a cluster; None for a local Ray."""
    data: str
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
    """Trials at the same time that the cluster can grow to; None: as many as run on its nodes now."""
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
        if self.data not in NAMES:
            raise ValueError(f"--data {self.data!r} is unknown; allowed: {', '.join(NAMES)}")
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(f"--precision {self.precision!r} is unknown; allowed: {', '.join(PRECISIONS)}")
        studies = self._known_studies
        if self.own_study and self.own_study.name in STUDIES:
            raise ValueError(f"--study: name {self.own_study.name!r} is a built-in study's")
        for name in self.studies:
            if name not in studies:
                raise ValueError(f"--studies {name!r} is unknown; allowed: {', '.join(studies)}")
        check_numbers(studies.values())
        if self.calibrate and not self.searched_study:
            raise ValueError(f"--calibrate {self.calibrate}: none of the chosen studies has a search")
        if len(searches := [study.name for study in self.chosen_studies if study.search]) > 1:
            raise ValueError(f"a sweep runs one search; {' and '.join(searches)} are two: run them one after another")
        numbers = [table.number for study in self.chosen_studies for table in study.tables]
        for number in self.only:
            if number not in numbers:
                allowed = ", ".join(numbers) or "none"
                raise ValueError(f"--only {number!r} is not a table of the chosen studies; allowed: {allowed}")
        if self.gpu_memory_per_trial and self.gpus_per_trial == 0:
            raise ValueError("--gpu-memory-per-trial needs --gpus-per-trial above 0")
        if self.gpus_per_trial and self.gpus_per_trial < SMALLEST_SHARE:
            raise ValueError(f"--gpus-per-trial {self.gpus_per_trial}: must be 0 or at least {SMALLEST_SHARE}")
        if self.gpus_per_trial is not None and self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"--gpus-per-trial {self.gpus_per_trial} must be a fraction below 1 or a whole number")
        return self

    @property
    def trial_data_dir(self) -> str | None:
        """Where processes elsewhere, which have neither this environment nor this folder, find CIFAR-10; None for other
        data."""
        if self.data != "cifar10":
            return None
        named = self.data_dir or os.environ.get("CIFAR10_DIR")
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
    def search(self) -> Study | None:
        """The study whose search is to run: none where its calibration stands in its place."""
        return None if self.calibrate else self.searched_study

    @property
    def searched_study(self) -> Study | None:
        """The one of the named studies that has a search, also where its calibration stands in its place."""
        named = (self._known_studies[name] for name in self.studies)
        return next((study for study in named if study.search), None)

    @property
    def requested(self) -> Resources:
        """What a trial was asked to get, with no GPU where nothing was said."""
        return Resources(self.cpus_per_trial, self.gpus_per_trial or 0, self.gpu_memory_per_trial or 0)

    @property
    def base(self) -> dict[str, Any]:
        """What the sweep changes in every config."""
        precision = {"precision": self.precision} if self.precision else {}
        return {"data": self.data, "epochs": self.epochs, **precision, **self.changes}


def parse(
    *,
    quick: bool,
    studies: str | None,
    study: Path | None,
    only: str,
    config: Path | None,
    change: list[str],
    budget: str,
    prices: str,
    **given: Any,
) -> Options:
    """Options from the command line's values, with `--quick`, the environment and the defaults filled in.

    The study of a file runs alone, unless `studies` names others beside it.
    Raises `UsageError` naming the option, the value and what is allowed.
    """
    own = read_study(study) if study else None
    if config:
        own = _read_config(config, study, quick, change, given)
        given["data"] = own.tables[0].rows[0].change["data"]
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if "notify" in values:
        values["notify"] = check_url(values["notify"])
    values["epochs_given"] = quick or "epochs" in values
    values = DEFAULTS | (QUICK if quick else {}) | values
    address = values.get("address") or os.environ.get("RAY_ADDRESS")
    values["address"] = None if address in ("", "local") else address
    values.setdefault("tracking_uri", default_tracking_uri())
    values.setdefault("experiment", default_experiment(values["data"]))
    values.setdefault("storage_path", "sweep-storage")
    for path in ("data_dir", "storage_path"):
        if values.get(path) and "://" not in values[path]:  # absolute: trials run in folders of their own
            values[path] = _absolute(path, values[path])
    try:
        priced = parse_prices(prices)
    except ValueError as error:
        raise UsageError(str(error)) from error
    named = _names(DEFAULT_STUDIES if studies is None and own is None else studies or "")
    if studies is None and _names(only):  # somebody who asks for one table does not ask for a search
        named = tuple(name for name in named if not STUDIES[name].search)
        own = own and own.model_copy(update={"search": None})
    try:
        options = Options(
            studies=tuple(dict.fromkeys((*named, *([own.name] if own else [])))) or ("",),
            study_file=_study_file(file) if (file := study or config) else None,
            own_study=own,
            only=_names(only),
            changes=dict(map(_change, change)),
            budget=parse_budget(budget, priced),
            prices=priced,
            **values,
        )
    except ValidationError as error:
        problem = first_problem(error)
        option = [_option(problem.place)] if problem.location else []
        raise UsageError(str(replace(problem, location=option))) from error
    _refuse_idle(options, given | {"budget": budget})
    return options


def _refuse_idle(options: Options, given: Mapping[str, Any]) -> None:
    """Raises `UsageError` for a given option that would change nothing."""
    if options.data != "cifar10" and given.get("data_dir"):
        raise UsageError(f"--data-dir {given['data_dir']}: only cifar10 is read from a folder, not {options.data}")
    for name in ("samples", "budget", "proof_seeds", "difference_seeds"):
        if given.get(name) and not options.search:
            why = "--calibrate runs in place of the search" if options.calibrate else "no chosen study has a search"
            raise UsageError(f"{_option(name)} {given[name]}: {why}")


def _option(name: str) -> str:
    """An option as it is typed."""
    return f"--{name.replace('_', '-')}"


def _absolute(name: str, path: str) -> str:
    try:
        if b"\0" in path.encode():  # which raises for what is no UTF-8: the record could not keep it
            raise ValueError("a path has no NUL character")
        return str(Path(path).expanduser().absolute())
    except (RuntimeError, ValueError) as error:  # the former for a home that is not known
        raise UsageError(f"{_option(name)} {path!r}: {error}") from error


def _read_config(file: Path, study: Path | None, quick: bool, change: list[str], given: dict[str, Any]) -> Study:
    """The study of a config's file. Raises `UsageError` for options that the file decides."""
    decided = {"study": study, "quick": quick, "set": change} | {
        name: given.get(name) for name in ("data", "epochs", "precision")
    }
    if named := [name for name, value in decided.items() if value]:
        raise UsageError(f"--{named[0]} and --config {file}: leave out one, because the file says all of a training")
    return read_config(file)


def _study_file(file: Path) -> StudyFile:
    """The file under a name that MLflow can read back."""
    return StudyFile(re.sub(r"[#?%]", "-", file.name), file.read_text(encoding="utf-8"))


def default_tracking_uri() -> str:
    """`$MLFLOW_TRACKING_URI`, else a SQLite file in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or uri_of(Path.cwd() / "mlflow.db")


def default_experiment(data: str) -> str:
    """`$MLFLOW_EXPERIMENT_NAME`, else one experiment for each data set."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"ablations-{data}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _change(text: str) -> tuple[str, Any]:
    """FIELD=VALUE, the value as JSON where it is any: batch_size=256, channels=[4,8], optimizer=adamw."""
    field, equals, value = text.partition("=")
    if field in ("data", "epochs", "precision"):
        raise UsageError(f"--set {text!r}: use --{field}")
    if not equals:
        raise UsageError(f"--set {text!r} must be FIELD=VALUE, as in --set batch_size=256")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value
    except (ValueError, RecursionError) as error:  # thousands of digits or brackets
        raise UsageError(f"--set {text!r}: {error}") from error
