"""The errors of a trial, as Ray Tune writes them and the record keeps them."""

import re

ERRORS = "error"
"""Tag of a trial that failed: its errors, the last one last."""
ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)(: |$)")
"""How a line of a traceback begins that names an error."""
FAILURE = "Failure # "
"""What Tune writes above each error."""


def last_error(text: str) -> str:
    """The line of a trial's errors that says what went wrong last: the last one that begins with an error's name,
    because a message may go on, as those of CUDA do; else the last line."""
    lines = text.rpartition(FAILURE)[2].splitlines() or ["no reason given"]
    return next((line for line in reversed(lines) if ERROR.match(line)), lines[-1])
