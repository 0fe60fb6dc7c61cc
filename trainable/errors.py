"""The text of an error, for a message of one line."""


def first_cause(error: BaseException) -> BaseException:
    """The error from which this one follows through all those between, as libraries wrap each other's."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def first_line(error: BaseException) -> str:
    """The first line of an error's text; where it has none, the name of its class."""
    return (str(error).splitlines() or [type(error).__name__])[0]
