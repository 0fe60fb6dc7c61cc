"""What the record fails to do now and may do later: in an outage, or because another process was first."""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

import requests
from mlflow.exceptions import MlflowException

PATIENCE_S = 60.0
"""For so long whoever needs an answer of the record waits until it is back."""
RETRY_S = 2.0

T = TypeVar("T")


def is_outage(error: Exception) -> bool:
    """Whether the same write may succeed later: the server or the network is at fault, not the write."""
    if isinstance(error, MlflowException):
        return error.get_http_status_code() >= 500 or error.get_http_status_code() == 429
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500 or error.response.status_code == 429
    denied = (errno.EACCES, errno.EPERM)
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError) and error.errno not in denied


def despite_a_race(write: Callable[[], object]) -> None:
    """Make a write, and once more where it is refused because another process has just made the same."""
    try:
        write()
    except MlflowException:
        write()


def patiently(ask: Callable[[], T]) -> T:
    """What the record answers. Asks again while it has an outage, for `PATIENCE_S` seconds, and raises its error then;
    any other error at once."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except Exception as error:
            if not is_outage(error) or time.monotonic() > until:
                raise
        time.sleep(RETRY_S)
