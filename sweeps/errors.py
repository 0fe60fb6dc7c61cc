"""What ended a sweep or a trial, said in one line."""

import re

from pydantic import ValidationError

from trainable.config import Config
from trainable.errors import CommandError
from trainable.problem import first_problem

ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)(: |$)")
"""How a line of a traceback begins that names an error."""
FAILURE = "Failure # "
"""What Tune writes above each error of a trial."""


class SweepError(CommandError, RuntimeError):
    """What ended a sweep that had begun: the message names the place and what to do."""


def last_error(text: str) -> str:
    """The line of a trial's errors, as Tune writes them, that says what went wrong last: the last one that begins with
    an error's name, because a message may go on, as those of CUDA do; else the last line."""
    lines = text.rpartition(FAILURE)[2].splitlines() or ["no reason given"]
    return next((line for line in reversed(lines) if ERROR.match(line)), lines[-1])


def config_problem(error: ValidationError) -> str:
    """The first problem of a config as one line: the field, the value and what is allowed."""
    problem = first_problem(error, Config)
    if not problem.location:
        return f"config field {problem.message}"
    return f"config field {problem.place!r}{':' if problem.value else ''} {problem.text}"
