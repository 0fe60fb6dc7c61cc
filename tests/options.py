"""The options of a command line that a test does not start."""

from typing import Any

from sweeps.planning.options import Options
from sweeps.planning.parse import parse

DEFAULTS: dict[str, Any] = {
    "quick": False, "studies": None, "study": None, "only": "", "config": None, "change": [], "budget": "",
    "prices": "", "data": "digits", "seeds": 1, "cpus_per_trial": 1.0,
}  # fmt: skip
"""What the command line hands over where nothing is given, but for digits in place of CIFAR-10."""


def options(**given: Any) -> Options:
    """The options of a command line. Raises `UsageError` as it does."""
    return parse(**(DEFAULTS | given))
