"""The fields of a configuration as a page: `python -m trainable.fields > docs/fields.md`."""

import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from trainable.config import SET_BY_OPTIONS, Config
from trainable.image_set import NAMES
from trainable.own_code.code_file import ARGUMENTS, CodeFile
from trainable.value_text import value_text

HEAD = """# The fields of a configuration

Made by `python -m trainable.fields`; do not edit. These fields decide what a training computes. A row of a
[study](studies/README.md) names those that it changes, and so does `--set`, but for those that have an option of their
own. A field that the rest of a configuration switches off is refused: `momentum`, for example, where the optimizer is
`adam`. In the table, "a file" is [code of your own](studies/README.md#code-of-your-own).

| field | default | allowed | meaning |
|---|---|---|---|
"""
BOUNDS = {"ge": "from", "gt": "above", "le": "up to", "lt": "but below"}
"""How pydantic's bounds are said."""


def page() -> str:
    """The page, in Markdown: for each field its default, what it allows and what it means."""
    return HEAD + "".join(f"| {' | '.join(_row(name, field))} |\n" for name, field in Config.model_fields.items())


def _row(name: str, field: FieldInfo) -> tuple[str, ...]:
    default = "none" if name in ARGUMENTS.values() else f"`{value_text(field.default)}`"
    meaning = " ".join((field.description or "").split())
    if name in SET_BY_OPTIONS:
        meaning += f" The option `--{name}` sets it{'; a row may set it, too' * (name != 'data')}."
    return f"`{name}`", default, _allowed(name, field), meaning


def _allowed(name: str, field: FieldInfo) -> str:
    if name == "data":
        return ", ".join(f"`{each}`" for each in NAMES) + ", or a name of yours"
    if name in ARGUMENTS.values():
        return "numbers, texts, true, false, and lists of these, by name"
    choices = [f"`{value_text(each)}`" for each in _choices(field.annotation)]
    if choices:
        return ", ".join([*choices, *["a file"] * (CodeFile in get_args(field.annotation))])
    element = (get_args(field.annotation) or (field.annotation,))[0]
    kinds = {int: "a whole number", float: "a number"}
    if get_origin(field.annotation) is tuple:
        inner, *bounds = get_args(element)
        return f"{len(get_args(field.annotation))} times {kinds[inner]} {_range(bounds[0].metadata)}"
    return f"{kinds[element]} {_range(field.metadata)}"


def _choices(annotation: Any) -> Iterator[Any]:
    """The values of a type that has few."""
    if annotation is bool:
        yield from (False, True)
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            if get_origin(part) is Literal:
                yield from get_args(part)


def _range(metadata: list[Any]) -> str:
    said = [
        f"{words} {getattr(each, name):g}" for each in metadata for name, words in BOUNDS.items() if hasattr(each, name)
    ]
    return " ".join(said)


if __name__ == "__main__":
    sys.stdout.write(page())
