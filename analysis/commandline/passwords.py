"""Passwords in URIs are for the libraries that connect, not for screens, tags and reports."""

import re
import traceback

_IN_AUTHORITY = re.compile(r"(?<=://)([^\s/@:]*):(?!\d+(?:[/\s]|$))\S*@")
"""USER:PASSWORD@ after a URI's scheme. A password may hold `@` or `/`; HOST:PORT is none."""
_IN_QUERY = re.compile(r"([?&][\w-]*(?:password|passwd|secret|token)[\w-]*=)[^&\s'\"]+", re.IGNORECASE)


def hide_passwords(text: str) -> str:
    """The text with three asterisks for each password in a URI: `postgresql://user:***@host/record`."""
    return _IN_QUERY.sub(r"\1***", _IN_AUTHORITY.sub(r"\1:***@", text))


def traceback_of(error: BaseException) -> str:
    """An error's traceback with its passwords hidden."""
    return hide_passwords("".join(traceback.format_exception(error)))
