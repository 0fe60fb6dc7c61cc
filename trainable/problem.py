"""What a validation by pydantic found wrong, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

UNION_TAGS = ("Choice", "Range", "int", "float", "constrained-float", "bool", "str")
"""What pydantic puts into a location for each type of a union that it tried."""
SHOWN = 60
"""Characters of a bad value that a message shows."""

Location = Sequence[str | int]
"""The way to a value: names and indices, as in tables, 0, rows."""


@dataclass(frozen=True)
class Problem:
    """Where a validation failed, and why."""

    location: Location
    """Empty for the whole."""
    value: str
    """The start of the bad value as Python writes it; empty where the message says it, or where there is none."""
    message: str
    """What is allowed."""

    @property
    def place(self) -> str:
        """The location in one word: tables.0.rows."""
        return ".".join(map(str, self.location))

    @property
    def text(self) -> str:
        """The value and what is allowed."""
        return f"{self.value} {self.message}".strip()

    def __str__(self) -> str:
        """With its place."""
        return f"{self.place} {self.value}: {self.message}" if self.value else f"{self.place} {self.message}".strip()


def first_problem(error: ValidationError, model: type[BaseModel] | None = None) -> Problem:
    """The first problem of a validation of `model`; an unknown field goes first, because it is often the reason why
    another is missing."""
    errors = error.errors()
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    location = _without_tags(first["loc"], keep_last=first["type"] == "extra_forbidden")
    value = repr(first["input"])
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("\n", " ")
    holds_more = isinstance(first["input"], dict | list | tuple)
    match first["type"]:
        case "extra_forbidden":
            return Problem(location, "", unknown(str(location[-1]), _fields(model, location[:-1])))
        case "missing":
            return Problem(location, "", "is missing")
        case "model_type" if fields := _fields(model, location):
            message = f"must be a mapping with {', '.join(fields)}"
        case "tuple_type":
            message = "must be a list"
        case "too_short":
            least = first["ctx"]["min_length"]
            message = f"must have at least {least} item{'s' * (least > 1)}"
        case "string_type" if isinstance(first["input"], int | float):
            message = "must be text: write it in quotes"
        case "value_error" if not location or (holds_more and not message.startswith(value)):
            return Problem(location, "", message)  # it names what of it is wrong
    return Problem(location, value if len(value) <= SHOWN else f"{value[:SHOWN]}...", message.removeprefix(f"{value} "))


def _without_tags(location: Sequence[str | int], keep_last: bool) -> list[str | int]:
    """A location without what pydantic puts into it. A parameter of a space may be named like a tag."""
    kept = {0, *(index + 1 for index, part in enumerate(location) if part == "space")}
    if keep_last:
        kept.add(len(location) - 1)
    return [part for index, part in enumerate(location) if index in kept or part not in (*UNION_TAGS, "[key]")]


def unknown(name: str, allowed: Sequence[str]) -> str:
    """That a name is unknown, which one may be meant, and which are allowed."""
    meant = "".join(f" (did you mean {each}?)" for each in get_close_matches(name, allowed, 1))
    return f"is unknown{meant}; allowed: {', '.join(allowed)}" if allowed else "is unknown"


def _fields(model: type[BaseModel] | None, location: Location) -> list[str]:
    """The fields of what is at a location of a model; none where that is not one model."""
    for part in location:
        if model is None or isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        model = _model_in(field.annotation) if field else None
    return list(model.model_fields) if model else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is or holds, as in a tuple of them or in one that may be None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for each in get_args(annotation) if (model := _model_in(each))), None)
