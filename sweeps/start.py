"""What a command does before its imports, which take seconds: Ctrl-C ends it in one line, and any text can be printed.

A command calls `start` first of all, and `interrupt_once` when it begins what has to be put in order at its end.
"""

import codecs
import io
import os
import signal
import sys
from typing import Any

PLAIN = {"±": "+/-", "×": "x", "…": "..."}
"""What is printed for a character where the encoding of the output lacks it; for all others a question mark."""


def main() -> None:
    """The console script `ablation-sweeps`: the same as `python sweeps/full.py`."""
    start()
    from sweeps.commands import run_command
    from sweeps.full import app

    run_command(app)


def start() -> None:
    """Prepare the process: see the module. A signal that is ignored, as in the background job of a script, stays so."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def interrupt_once() -> None:
    """From now on the first Ctrl-C raises `KeyboardInterrupt`, and further ones do not disturb what it sets going."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _interrupt)


def ignore_interrupts() -> None:
    """The process ends now: Ctrl-C does nothing any more, also when Python itself has gone."""
    if signal.getsignal(signal.SIGINT) in (_end, _interrupt, _nothing):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(*_: Any) -> None:
    """Ends the process at once: an exception in the middle of an import may be lost, or leave a traceback."""
    os.write(2, b"Stopped before anything was started.\n")
    os._exit(130)


def _interrupt(*_: Any) -> None:
    signal.signal(signal.SIGINT, _nothing)
    raise KeyboardInterrupt


def _nothing(*_: Any) -> None:
    """Not SIG_IGN, which processes that are started later would inherit."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(PLAIN.get(character, "?") for character in error.object[error.start : error.end]), error.end
