"""How every command here ends: bad input is one line on standard error and exit code 2, a disk that fails is one line
and 1, Ctrl-C is 130."""

import os
import sys
from collections.abc import Iterable
from typing import NoReturn

import typer

from analysis.passwords import hide_passwords
from sweeps.errors import SweepError, UsageError
from sweeps.start import ignore_interrupts
from trainable.sources import DataError

LONGEST_WORD = 300
"""Characters of a word in an error; longer ones are cut."""


def default_studies(names: Iterable[str]) -> None:
    """Let a command run these studies where its arguments name none."""
    if not any(argument.startswith(("--studies", "--study")) for argument in sys.argv[1:]):
        sys.argv[1:1] = ["--studies", ",".join(names)]


def run_command(app: typer.Typer) -> None:
    """Run a command line and exit."""
    failure = 2
    try:
        code = app(standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
        _exit(code)
    except BrokenPipeError:  # nobody reads on, as in `... | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _exit(1)
    except typer.TyperException as error:
        problem = error.format_message()
    except (UsageError, DataError) as error:
        problem = str(error)
    except SweepError as error:
        problem, failure = str(error), 1
    except (KeyboardInterrupt, typer.Abort):
        _exit(130)
    print("error:", _one_line(problem), file=sys.stderr)
    _exit(failure)


def _exit(code: int | None) -> NoReturn:
    ignore_interrupts()  # libraries end their threads and processes now
    sys.exit(code)


def _one_line(problem: str) -> str:
    words = hide_passwords(problem).split()
    return " ".join(word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}..." for word in words)
