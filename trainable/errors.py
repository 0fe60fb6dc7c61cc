"""Errors whose message a person reads in one line, and the line that says what any other error is."""


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
