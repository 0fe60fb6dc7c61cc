"""Reads a study from a file of the user: YAML, or Python that defines `STUDY`. docs/studies/ has examples.

A YAML file has the fields of `trainable.study.Study`: `tables` with their `rows`, and a `search`. A file that says no
`name` is named after itself.
"""

import re
import runpy
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sweeps.errors import UsageError, first_error
from trainable.config import Config
from trainable.study import Study

SUFFIXES = (".yaml", ".yml", ".py")
UNION_TAGS = ("Choice", "Range", "int", "float", "constrained-float", "bool", "str")
"""What pydantic puts into a location for each type of a union that it tried."""
FLOAT_WITHOUT_POINT = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$")
"""A number as 1e-3: YAML 1.2 and JSON know it as one, PyYAML's YAML 1.1 takes it for a text."""
Location = Sequence[str | int]
"""The way to a value in a file: names and indices, as in tables, 0, rows."""


class _Loader(yaml.SafeLoader):
    """Reads numbers as YAML 1.2 does."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT_WITHOUT_POINT, list("-+0123456789"))


def read_study(file: Path) -> Study:
    """The study in a file. Raises `UsageError` in one line: the file, the line or path in it, the value, and what is
    allowed."""
    if file.suffix not in SUFFIXES:
        raise UsageError(f"--study {file}: the name must end in one of {', '.join(SUFFIXES)}")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--study {file}: cannot be read: {error}") from error
    return _run_python(file) if file.suffix == ".py" else _parse_yaml(file, text)


def _parse_yaml(file: Path, text: str) -> Study:
    try:
        root = yaml.compose(text, _Loader)
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"--study {file}{line}: not YAML: {getattr(error, 'problem', error)}") from error
    except (ValueError, RecursionError) as error:  # thousands of digits or brackets, a date that does not exist
        raise UsageError(f"--study {file}: cannot be read: {error}") from error

    def problem(location: Location, message: str) -> UsageError:
        return UsageError(f"--study {file}, line {_line(root, location)}, {_path(location)}: {message}")

    if not isinstance(content, dict):
        raise UsageError(f"--study {file}: must be a mapping with tables or a search, found {type(content).__name__}")
    default = re.sub(r"[^A-Za-z0-9_-]+", "-", file.stem).strip("-_") or "study"
    try:
        study = Study(**{"name": default, "title": str(content.get("name", default)), **content})
    except ValidationError as error:
        first = error.errors()[0]
        location = [part for part in first["loc"] if part not in UNION_TAGS]
        if first["type"] == "extra_forbidden":
            raise problem(location, "unknown field") from error
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        says_itself = first["type"] == "value_error" or isinstance(first["input"], dict)
        raise problem(location, message if says_itself else f"{first['input']!r} {message}") from error
    except TypeError as error:
        raise UsageError(f"--study {file}: {error}") from error
    _check(study, problem)
    return study


def _run_python(file: Path) -> Study:
    try:
        study = runpy.run_path(str(file)).get("STUDY")
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        line = f", line {frames[-1].lineno}" if frames else ""
        why = first_error(error) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise UsageError(f"--study {file}{line}: {why}") from error
    if not isinstance(study, Study):
        raise UsageError(f"--study {file}: must define STUDY, a trainable.study.Study; found {type(study).__name__}")
    _check(study, lambda location, message: UsageError(f"--study {file}, {_path(location)}: {message}"))
    return study


def _check(study: Study, problem: Callable[[Location, str], UsageError]) -> None:
    """Raises what `problem(location, message)` makes of the first fault that the types alone do not show."""
    if not study.tables and not study.search:
        raise problem((), "must have tables or a search")
    for t, table in enumerate(study.tables):
        if not table.rows:
            raise problem(("tables", t, "rows"), "must have at least one row")
        changes: list[tuple[Location, dict[str, Any]]] = [(("tables", t, "reference"), table.reference)]
        changes += [(("tables", t, "rows", r, "change"), row.change) for r, row in enumerate(table.rows)]
        for location, change in changes:
            for field, message in _field_problems(change):
                raise problem((*location, field), message)
    if study.search:
        for field, message in _field_problems(study.search.fixed):
            raise problem(("search", "fixed", field), message)
        for name, parameter in study.search.space.items():
            for value in parameter.ends:
                for _, message in _field_problems(study.search.changes({name: value})):
                    raise problem(("search", "space", name), message)


def _field_problems(change: dict[str, Any]) -> list[tuple[str, str]]:
    """The fields of a change that are wrong whatever the rest of the config is, each with its value and what is
    allowed."""
    try:
        Config(**change)
    except ValidationError as error:
        return [(str(each["loc"][0]), first_error(error)) for each in error.errors()[:1] if each["loc"]]
    return []


def _path(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "top level"


def _line(root: yaml.Node | None, location: Location) -> int:
    """The 1-based line of the innermost node on the way to a location."""
    node = root
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            if not pairs:
                break
            key, node = pairs[-1]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
