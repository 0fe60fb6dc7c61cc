"""From the words of a command line to options: each problem is one line, before anything is started."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analysis.commandline.record_options import default_record
from analysis.prices import parse_prices
from sweeps.notifier import check_url
from sweeps.planning.budget import parse_budget
from sweeps.planning.data_cache import named_cache_problems
from sweeps.planning.options import Options
from sweeps.studies.config_file import read_config
from sweeps.studies.registry import STUDIES
from sweeps.studies.study_file import read_study
from trainable.change import gathered
from trainable.config import SET_BY_OPTIONS, Config
from trainable.data import find
from trainable.errors import UsageError
from trainable.image_set import BUILT_IN, DIGITS, ImageSet
from trainable.own_code.code_file import read_code
from trainable.problem import first_problem
from trainable.study import Study, StudyFile

DEFAULT_STUDIES = "tables,corrections,search"
QUICK: dict[str, Any] = {"data": "digits", "epochs": 2, "samples": 4, "proof_seeds": 2}
"""What `--quick` changes in the defaults."""
DEFAULTS: dict[str, Any] = {"data": "cifar10", "epochs": 20, "samples": 20, "proof_seeds": 3}


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
    own, in_file = read_study(study) if study else None, None
    if config:
        own = _read_config(config, study, quick, change, given)
        in_file = Config(**own.tables[0].rows[0].change).data
        given["data"] = in_file.name
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
    values["data"] = _find_data(values["data"], given.get("data_dir"), config, in_file)
    try:
        priced = parse_prices(prices)
    except ValueError as error:
        raise UsageError(str(error)) from error
    named = _names(DEFAULT_STUDIES if studies is None and own is None else studies or "")
    if studies is None and _names(only):  # somebody who asks for one table does not ask for a search
        named = tuple(name for name in named if not STUDIES[name].search)
        own = own and own.model_copy(update={"search": None})
    chosen = dict.fromkeys((*named, *([own.name] if own else [])))
    if not chosen:
        raise UsageError(f"--studies: name one at least; known: {', '.join(STUDIES)}")
    try:
        options = Options(
            studies=tuple(chosen),
            study_file=_study_file(file) if (file := study or config) else None,
            own_study=own,
            only=_names(only),
            changes=_changes(change),
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


def _find_data(name: str, data_dir: str | None, config: Path | None, in_file: ImageSet | None) -> ImageSet:
    """The data set of that name, which `config`, if it is given, describes as `in_file`. Raises `UsageError` for a
    folder that is missing, is not read or has other images."""
    if name == DIGITS.name and data_dir:
        raise UsageError(f"--data-dir {data_dir}: the digits are not read from a folder")
    if in_file and name not in BUILT_IN and not data_dir:
        raise UsageError(f"--config {config}: its data is {in_file}; name the folder of the images with --data-dir")
    with named_cache_problems():
        found = find(name, data_dir)
    if in_file and in_file != found:
        fields = [field for field, value in in_file.model_dump().items() if value != getattr(found, field)]
        raise UsageError(
            f"--config {config}: its data {in_file} and that in --data-dir {data_dir} differ in {', '.join(fields)}"
        )
    return found


def _refuse_idle(options: Options, given: Mapping[str, Any]) -> None:
    """Raises `UsageError` for a given option that would change nothing."""
    for name in ("samples", "budget", "proof_seeds", "difference_seeds"):
        if given.get(name) and not options.study_to_search:
            if options.calibrate:
                why = "--calibrate runs in place of the search"
            elif options.only:
                why = "with --only a search runs only if --studies names its study"
            else:
                why = "no chosen study has a search"
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
    decided = {"study": study, "quick": quick, "set": change} | {name: given.get(name) for name in SET_BY_OPTIONS}
    if named := [name for name, value in decided.items() if value]:
        raise UsageError(f"--{named[0]} and --config {file}: leave out one, because the file says all of a training")
    return read_config(file)


def _study_file(file: Path) -> StudyFile:
    """The file under a name that MLflow can read back."""
    return StudyFile(re.sub(r"[#?%]", "-", file.name), file.read_text(encoding="utf-8"))


def default_tracking_uri() -> str:
    """`$MLFLOW_TRACKING_URI`, else a SQLite file in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_record()


def default_experiment(data: str) -> str:
    """`$MLFLOW_EXPERIMENT_NAME`, else one experiment for each name of a data set."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"ablations-{data}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _changes(texts: Iterable[str]) -> dict[str, Any]:
    """What all --set together change."""
    try:
        return gathered(dict(map(_change, texts)))
    except ValueError as error:
        raise UsageError(f"--set {error}") from error


def _change(text: str) -> tuple[str, Any]:
    """FIELD=VALUE, the value as JSON where it is any: batch_size=256, channels=[4,8], optimizer=adamw, or the path of a
    Python file. Raises `ValueError` for anything else."""
    field, equals, value = text.partition("=")
    if field in SET_BY_OPTIONS:
        raise ValueError(f"{text!r}: use --{field}")
    if not equals:
        raise ValueError(f"{text!r} must be FIELD=VALUE, as in --set batch_size=256")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, read_code(field, value, Path())
    except (ValueError, RecursionError) as error:  # thousands of digits or brackets
        raise ValueError(f"{text!r}: {error}") from error
