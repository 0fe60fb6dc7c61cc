"""How a command begins and ends. During its imports, which take seconds, Ctrl-C ends it in one line; any text can be
printed.

A command calls `start` first of all, `interrupt_once` when it begins what has to be put in order at its end, and ends
with `end_with`.
"""

import codecs
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from analysis.commandline.passwords import traceback_of

PLAIN = {"±": "+/-", "×": "x", "…": "..."}
"""What is printed for a character where the encoding of the output lacks it; for all others a question mark."""


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


def restore_handler(handler: Any) -> None:
    """Put back the handler of Ctrl-C that a library has replaced. Where Ctrl-C has come, further ones stay ignored."""
    if signal.getsignal(signal.SIGINT) is not _nothing:
        signal.signal(signal.SIGINT, handler)


def ignore_interrupts() -> None:
    """From now on Ctrl-C does not disturb what ends the command."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, _nothing)


def end_with(command: Callable[[], int | str | None]) -> NoReturn:
    """Run a command and exit with its code: 130 after Ctrl-C, 1 where nobody reads on what it prints, and 1 with a
    traceback, in which no password is shown, after an error that nobody foresaw."""
    try:
        try:
            code = command()
        except SystemExit as end:
            code = end.code
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:  # as in `... | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        print(traceback_of(error), end="", file=sys.stderr)
        code = 1
    _ignore_interrupts()  # libraries end their threads and processes now
    sys.exit(code)


def _ignore_interrupts() -> None:
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
