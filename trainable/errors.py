"""Errors whose message a person reads in one line, and the line that says what any other error is."""

import re

ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)(: |$)")
"""How a line of a traceback begins that names an error."""
FAILURE = "Failure # "
"""What Tune writes above each error of a trial."""


class CommandError(Exception):
    """Ends a command with its message and this exit code."""

    exit_code = 1


class UsageError(CommandError, ValueError):
    """Bad input: the message names the field, the value and what is allowed."""

    exit_code = 2


class DataError(UsageError):
    """The data is missing or is not what it should be. The message names the file and the problem."""


def first_cause(error: BaseException) -> BaseException:
    """The error from which this one follows through all those between, as libraries wrap each other's."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def first_line(error: BaseException) -> str:
    """The first line of an error's text; where it has none, the name of its class."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def last_error(text: str) -> str:
    """The line of a trial's errors, as Tune writes them, that says what went wrong last: the last one that begins with
    an error's name, because a message may go on, as those of CUDA do; else the last line."""
    lines = text.rpartition(FAILURE)[2].splitlines() or ["no reason given"]
    return next((line for line in reversed(lines) if ERROR.match(line)), lines[-1])
