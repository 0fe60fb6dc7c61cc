"""How every command here ends: bad input is one line on standard error and exit code 2, a disk that fails is one line
and 1, Ctrl-C is 130."""

import sys
from collections.abc import Iterable
from typing import NoReturn

import typer

from analysis.passwords import hide_passwords
from analysis.start import end_with
from sweeps.errors import SweepError, UsageError
from trainable.sources import DataError

LONGEST_WORD = 300
"""Characters of a word in an error; longer ones are cut."""


def run_studies(app: typer.Typer, names: Iterable[str], about: str) -> NoReturn:
    """Run a command line, with these studies where its arguments name neither a study nor a config to train alone.
    `about` is what `--help` says of the command."""
    app.registered_commands[0].help = about
    if not any(argument.startswith(("--studies", "--study", "--config")) for argument in sys.argv[1:]):
        sys.argv[1:1] = ["--studies", ",".join(names)]
    run_command(app)


def run_command(app: typer.Typer) -> NoReturn:
    """Run a command line and exit."""
    end_with(lambda: _run(app))


def _run(app: typer.Typer) -> int | None:
    try:
        return app(standalone_mode=False)
    except typer.TyperException as error:
        problem, code = error.format_message(), 2
    except (UsageError, DataError) as error:
        problem, code = str(error), 2
    except SweepError as error:
        problem, code = str(error), 1
    except typer.Abort:
        return 130
    print("error:", _one_line(problem), file=sys.stderr)
    return code


def _one_line(problem: str) -> str:
    words = hide_passwords(problem).split()
    return " ".join(word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}..." for word in words)
