"""Reads a study from a file of the user: YAML, or Python that defines `STUDY`. docs/studies/ has examples.

A YAML file has the fields of `trainable.study.Study`: `tables` with their `rows`, and a `search`. A file that says no
`name` is named after itself.
"""

import re
import runpy
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sweeps.studies.yaml_file import read_text, read_yaml
from trainable.config import Config
from trainable.errors import UsageError
from trainable.measures import DIFFERENCES, MEASURES, PREDICTED_CLASSES, RUNGS
from trainable.problem import Location, Problem, first_problem, unknown
from trainable.search_space import config_fields
from trainable.study import Study

SUFFIXES = (".yaml", ".yml", ".py")
LONGEST_NAME = 60
"""Characters of a study's name."""
MEASURED = [name for name, each in MEASURES.items() if name and each not in (PREDICTED_CLASSES, DIFFERENCES, RUNGS)]
"""The measures that a file may name. The others are those of a search's proof and calibration."""


def read_study(file: Path) -> Study:
    """The study in a file. Raises `UsageError` in one line: the file, the line or path in it, the value, and what is
    allowed."""
    if file.suffix not in SUFFIXES:
        raise UsageError(f"--study {file}: the name must end in one of {', '.join(SUFFIXES)}")
    return _run_python(file) if file.suffix == ".py" else _read_yaml(file)


def _read_yaml(file: Path) -> Study:
    yaml_file = read_yaml("--study", file)
    content = yaml_file.content

    def problem(location: Location, message: str) -> UsageError:
        return UsageError(f"--study {file}, line {yaml_file.line(location)}, {_path(location)}: {message}")

    if not isinstance(content, dict):
        raise UsageError(f"--study {file}: must be a mapping with tables or a search, found {type(content).__name__}")
    default = re.sub(r"[^A-Za-z0-9_-]+", "-", file.stem).strip("-_") or "study"
    try:
        named = {"name": default, "title": str(content.get("name", default)), **content}
        study = Study.model_validate(named, context=file.parent)
    except ValidationError as error:
        first = _first_problem(error, Study)
        raise problem(first.location, first.text) from error
    except TypeError as error:
        raise UsageError(f"--study {file}: {error}") from error
    _check(study, problem)
    return study


def _run_python(file: Path) -> Study:
    read_text("--study", file)  # the record keeps it as text
    try:
        study = runpy.run_path(str(file)).get("STUDY")
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        line = f", line {frames[-1].lineno}" if frames else ""
        if isinstance(error, ValidationError):
            why = f"{error.title.lower()} field {_first_problem(error)}"
        else:
            why = f"{type(error).__name__}: {error}"
        raise UsageError(f"--study {file}{line}: {why}") from error
    if not isinstance(study, Study):
        raise UsageError(f"--study {file}: must define STUDY, a trainable.study.Study; found {type(study).__name__}")
    _check(study, lambda location, message: UsageError(f"--study {file}, {_path(location)}: {message}"))
    return study


def _check(study: Study, problem: Callable[[Location, str], UsageError]) -> None:
    """Raises what `problem(location, message)` makes of the first fault that the types alone do not show."""
    if len(study.name) > LONGEST_NAME:
        raise problem(("name",), f"{study.name!r} must have at most {LONGEST_NAME} characters")
    if not study.tables and not study.search:
        raise problem((), "must have tables or a search")
    changes: list[tuple[Location, dict[str, Any]]] = [(("baseline",), study.baseline)]
    for t, table in enumerate(study.tables):
        if not table.rows:
            raise problem(("tables", t, "rows"), "must have at least one row")
        if table.measure.name and table.measure.name not in MEASURED:
            raise problem(("tables", t, "measure"), f"{table.measure.name!r} {unknown(table.measure.name, MEASURED)}")
        changes.append((("tables", t, "reference"), table.reference))
        listed = len(table.rows) - table.rows_of_grid
        for r, row in enumerate(table.rows):
            where: Location = ("rows", r, "change") if r < listed else ("grid",)
            changes.append((("tables", t, *where), row.change))
    if study.search:
        changes.append((("search", "fixed"), study.search.fixed))
    for location, change in changes:
        if wrong := _field_problem(change):
            raise problem((*location, *wrong.location), wrong.text)
    if study.search:
        for name, parameter in study.search.space.items():
            for value in parameter.ends:
                if wrong := _field_problem(config_fields(study.search.space, {name: value}, Config())):
                    raise problem(("search", "space", name), wrong.text)


def _first_problem(error: ValidationError, model: type[BaseModel] | None = None) -> Problem:
    """As `first_problem`, but of an unknown measure it lists those that a file may name."""
    problem = first_problem(error, model)
    if not problem.value or problem.location[-1:] != ["measure"]:
        return problem
    return replace(problem, message=unknown(str(error.errors()[0]["input"]), MEASURED))


def _field_problem(change: dict[str, Any]) -> Problem | None:
    """The first field of a change that is wrong whatever the rest of the config is."""
    try:
        Config(**change)
    except ValidationError as error:
        problem = first_problem(error, Config)
        return problem if problem.location else None
    return None


def _path(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "top level"
