"""The text of an error, for a message of one line."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text; where it has none, the name of its class."""
    return (str(error).splitlines() or [type(error).__name__])[0]
