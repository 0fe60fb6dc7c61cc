"""Changes of a config: the fields in which it differs from another one. Imports no torch."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo

from trainable.config import OF_ANY_TRAINING
from trainable.own_code.code_file import ARGUMENT, ARGUMENTS, read_code


def gathered(change: Mapping[str, Any]) -> dict[str, Any]:
    """The change with the arguments that are named alone, as `network_arguments[width]`, in their field. Raises
    `ValueError` for one that is given twice."""
    fields = {name: value for name, value in change.items() if not ARGUMENT.fullmatch(name)}
    for name, value in change.items():
        if argument := ARGUMENT.fullmatch(name):
            before = fields.get(argument[1], {})
            if not isinstance(before, Mapping) or argument[2] in before:
                raise ValueError(f"{name}: {argument[1]} gives it, too; leave it out of one")
            fields[argument[1]] = {**before, argument[2]: value}
    return fields


def _read_files(change: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    if info.context is None:
        return change
    return {field: read_code(field, value, info.context) for field, value in change.items()}


Change = Annotated[dict[str, Any], AfterValidator(gathered), AfterValidator(_read_files)]
"""Fields of a config that differ from those of another. Arguments may be named alone. Validated with a folder as
pydantic's context, a text that ends in .py is the path of a file, where the field may be one: it starts in that folder,
and is read."""


def combine(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config after a further change. Arguments are added to those before them, but what the change
    itself names, as another loss, starts without any. A training of one's own starts without the fields that mean
    nothing to it."""
    if change.get("training", "built_in") != "built_in":
        base = {field: value for field, value in base.items() if field in OF_ANY_TRAINING}
    combined = {**base, **change}
    for field, arguments in ARGUMENTS.items():
        before, new = base.get(arguments), change.get(arguments)
        if field in change:
            combined.pop(arguments, None)
            if new is not None:
                combined[arguments] = new
        elif isinstance(before, Mapping) and isinstance(new, Mapping):
            combined[arguments] = {**before, **new}
    return combined
