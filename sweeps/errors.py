"""What a person can get wrong, or has to mend, said in one line."""

from pydantic import ValidationError

from trainable.config import Config
from trainable.problem import first_problem


class UsageError(ValueError):
    """Bad input: the message names the field, the value and what is allowed; the command exits with code 2."""


class SweepError(RuntimeError):
    """What ended a sweep that had begun: the message names the place and what to do; the command exits with code 1."""


def last_line(text: str) -> str:
    """The last line of the text of a trial's errors, which says what went wrong."""
    return text.splitlines()[-1] if text else "no reason given"


def config_problem(error: ValidationError) -> str:
    """The first problem of a config as one line: the field, the value and what is allowed."""
    problem = first_problem(error, Config)
    if not problem.location:
        return f"config field {problem.message}"
    return f"config field {problem.place!r}{':' if problem.value else ''} {problem.text}"
