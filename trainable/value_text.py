"""The value of a field or an argument as people read it, much as YAML has it."""

from collections.abc import Mapping
from typing import Any


def value_text(value: Any, digits: int | None = None) -> str:
    """As true, 0.001, adam, [16, 32], and width=8, depth=2 for arguments. Floats have so many significant digits, or
    all that they have."""
    match value:
        case bool():
            return str(value).lower()
        case float() if digits:
            return f"{value:.{digits}g}"
        case Mapping():
            return ", ".join(f"{name}={value_text(each, digits)}" for name, each in value.items())
        case list() | tuple():
            return f"[{', '.join(value_text(each, digits) for each in value)}]"
    return str(value)
