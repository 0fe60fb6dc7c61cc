"""A Python file of one's own as part of a config: its text, that of the files beside it which it imports, and the
arguments that its function is called with.

Imports no torch, and runs nothing.
"""

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError, model_validator

from trainable.errors import UsageError
from trainable.frozen import Frozen, check_label
from trainable.problem import first_problem

ARGUMENTS = {field: f"{field}_arguments" for field in ("network", "loss", "optimizer", "schedule", "training")}
"""The fields of a config that may be a file, each with the field that holds the arguments of its function. The function
has the field's name."""

ARGUMENT = re.compile(rf"({'|'.join(ARGUMENTS.values())})\[(\w+)\]")
"""How one argument is named alone: `network_arguments[width]`."""


class Arguments(dict[str, Any]):
    """Arguments by name. 1, 1.0 and true are three arguments. It must not be changed: it is part of what is hashed."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and _as_json(self) == _as_json(other)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(_as_json(self))

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.items())


def _as_json(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments, sort_keys=True)


def _arguments(value: Any) -> Arguments:
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} should be a mapping of names to values")
    arguments = Arguments()
    for name, argument in value.items():
        if not (isinstance(name, str) and name.isidentifier() and name.isascii()):
            raise ValueError(f"{name!r} should be the name of an argument in Python")
        parts = argument if isinstance(argument, list | tuple) else [argument]
        for part in parts:
            if not isinstance(part, bool | int | float | str) or (isinstance(part, float) and not isfinite(part)):
                allowed = "a finite number, a text, true, false or a list of these"
                raise ValueError(f"{name}: {argument!r} should be {allowed}")
            if isinstance(part, str):
                check_label(part)  # names of rows show it
        arguments[name] = argument if argument is not parts else tuple(parts)
    return arguments


CodeArguments = Annotated[dict[str, Any], PlainValidator(_arguments)]
"""Finite numbers, texts, truths and lists of these, by names that Python allows for arguments."""


class SourceFile(Frozen):
    """A Python file: its name and its whole text."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.py$", max_length=60)]
    """The file's name, without its folder: letters, digits, `_`, `-` and `.`, at most 60."""
    code: str
    """The file's text."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The content of a file. Raises `UsageError` for a file that cannot be read, or whose name is not allowed."""
        try:
            return cls(file=Path(path).name, code=Path(path).expanduser().read_text(encoding="utf-8"))
        except ValidationError as error:
            raise UsageError(f"{path}: {first_problem(error)}") from error
        except (OSError, RuntimeError, ValueError) as error:  # no such home, no UTF-8, a NUL character
            raise UsageError(f"{path}: cannot be read: {error}") from error

    @property
    def text(self) -> str:
        """All that the digest is of."""
        return self.code

    @property
    def digest(self) -> str:
        """The start of the text's SHA-256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __str__(self) -> str:
        """The file's name and the text's digest."""
        return f"{self.file} {self.digest}"


class CodeFile(SourceFile):
    """A Python file that defines a function of the name of the field that it is given for: see `docs/studies`.

    Its name and its whole text are its identity, and those of the files beside it that it imports. Installed packages
    are not part of it.
    """

    imports: tuple[SourceFile, ...] = ()
    """The files beside it that it imports, and those that these import, by ascending name."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The content of a file, with the files beside it that it imports. Raises `UsageError` for a file that cannot
        be read, or whose name is not allowed."""
        main = super().read(path)
        sources: list[SourceFile] = [main]
        for source in sources:  # it grows
            beside = {module: Path(path).expanduser().with_name(f"{module}.py") for module in _imported(source)}
            known = {each.file for each in sources}
            sources += [SourceFile.read(file) for file in beside.values() if file.name not in known and file.is_file()]
        return main.model_copy(update={"imports": tuple(sorted(sources[1:], key=lambda source: source.file))})

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [source.file for source in self.imports]
        if names != sorted(set(names) - {self.file}):
            raise ValueError(f"imports {names}: must be other files, each once, by ascending name")
        return self

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """The file itself and those that it imports, each alone."""
        return (SourceFile(file=self.file, code=self.code), *self.imports)

    @property
    def text(self) -> str:
        """See `SourceFile`."""
        return self.code + "".join(f"\0{source.file}\0{source.code}" for source in self.imports)


def _imported(source: SourceFile) -> list[str]:
    """The top-level modules that a file's import statements name, wherever these stand; none where it is no Python."""
    try:
        nodes = list(ast.walk(ast.parse(source.code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # running it will say so
        return []
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return list(dict.fromkeys(name.partition(".")[0] for name in names))


def read_code(field: str, value: Any, folder: Path) -> Any:
    """A field's value or, where that is the path of a Python file in the folder, the file's content. Raises
    `UsageError`, which names the field, where the file cannot be read."""
    if field not in ARGUMENTS or not isinstance(value, str) or not value.endswith(".py"):
        return value
    try:
        return CodeFile.read(folder / value)
    except UsageError as error:
        raise UsageError(f"{field} {error}") from error


def or_file(*names: str) -> BeforeValidator:
    """Validates a field that takes one of these names or a `CodeFile`, which may come as a mapping of its fields."""

    def validate(value: Any) -> Any:
        if isinstance(value, Mapping):
            try:
                return CodeFile(**value)
            except (ValidationError, TypeError) as error:
                problem = first_problem(error) if isinstance(error, ValidationError) else error
                raise ValueError(f"of one's own: {problem}") from error
        if isinstance(value, CodeFile) or (isinstance(value, str) and value in names):
            return value
        if str(value).endswith(".py"):
            raise ValueError(
                f"{value!r} is not read here: a file is read in a baseline, a change, `fixed` or --set; in Python, use "
                "CodeFile.read"
            )
        raise ValueError(f"{value!r} should be {', '.join(names)}, or a Python file whose name ends in .py")

    return BeforeValidator(validate)
