"""Reads a file that a person has written in YAML."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainable.errors import UsageError
from trainable.problem import Location

FLOAT_WITHOUT_POINT = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$")
"""A number as 1e-3: YAML 1.2 and JSON know it as one, PyYAML's YAML 1.1 takes it for a text."""


class _Loader(yaml.SafeLoader):
    """Reads numbers as YAML 1.2 does."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT_WITHOUT_POINT, list("-+0123456789"))


@dataclass(frozen=True)
class YamlFile:
    """What is in a file, and where."""

    content: Any
    root: yaml.Node | None
    """The same as PyYAML's nodes, which know their lines; None for an empty file."""

    def line(self, location: Location) -> int:
        """The line, counted from 1, of the innermost value on the way to a location."""
        node, line = self.root, 1
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


def read_text(option: str, file: Path) -> str:
    """The text of a file that an option names. Raises `UsageError` in one line for one that cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option} {file}: cannot be read: {error}") from error


def read_yaml(option: str, file: Path) -> YamlFile:
    """Read a file that an option names. Raises `UsageError` in one line for one that cannot be read or is not YAML."""
    text = read_text(option, file)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return YamlFile(None if root is None else loader.construct_document(root), root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{option} {file}{line}: not YAML: {getattr(error, 'problem', error)}") from error
    except (ValueError, RecursionError) as error:  # thousands of digits or brackets, a date that does not exist
        raise UsageError(f"{option} {file}: cannot be read: {error}") from error
