"""What a person can get wrong, or has to mend, said in one line."""

from pydantic import ValidationError


class UsageError(ValueError):
    """Bad input: the message names the field, the value and what is allowed; the command exits with code 2."""


class SweepError(RuntimeError):
    """What ended a sweep that had begun: the message names the place and what to do; the command exits with code 1."""


def last_line(text: str) -> str:
    """The last line of the text of a trial's errors, which says what went wrong."""
    return text.splitlines()[-1] if text else "no reason given"


def first_error(error: ValidationError) -> str:
    """The first problem of a config, or of another part of a study, as one line: field, value, what is allowed."""
    problem = error.errors()[0]
    field, what = ".".join(str(part) for part in problem["loc"]), f"{error.title.lower()} field"
    if problem["type"] == "extra_forbidden":
        return f"{what} {field!r} is unknown"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be ", "should be ")
    return f"{what} {field!r}: {problem['input']!r} {message}" if field else f"{what} {message}"
