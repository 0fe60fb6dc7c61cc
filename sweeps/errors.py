"""What ended a sweep, and what is wrong with a config, said in one line."""

from pydantic import ValidationError

from trainable.config import Config
from trainable.errors import CommandError
from trainable.problem import first_problem


class SweepError(CommandError, RuntimeError):
    """What ended a sweep that had begun: the message names the place and what to do."""


def config_problem(error: ValidationError) -> str:
    """The first problem of a config as one line: the field, the value and what is allowed."""
    problem = first_problem(error, Config)
    if not problem.location:
        return f"config field {problem.message}"
    return f"config field {problem.place!r}{':' if problem.value else ''} {problem.text}"
