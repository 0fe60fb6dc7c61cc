"""Words that sentences of the report share."""

from collections.abc import Sequence


def listed(names: Sequence[str]) -> str:
    """The names as a sentence lists them: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
