"""How every command here ends: a problem that was foreseen is one line on standard error, with exit code 2 for bad
input and 1 for all else; Ctrl-C is 130."""

import sys
from typing import NoReturn

import typer

from analysis.commandline.passwords import hide_passwords
from analysis.commandline.start import end_with
from trainable.errors import CommandError

LONGEST_WORD = 300
"""Characters of a word in an error; longer ones are cut."""


def command_line(about: str | None = None) -> typer.Typer:
    """A command line for `run_command`. `about` is what `--help` says of one with several commands."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=about)


def run_command(app: typer.Typer) -> NoReturn:
    """Run a command line and exit."""
    end_with(lambda: _run(app))


def _run(app: typer.Typer) -> int | None:
    try:
        return app(standalone_mode=False)
    except typer.TyperException as error:
        problem, code = error.format_message(), 2
    except CommandError as error:
        problem, code = str(error), error.exit_code
    except typer.Abort:
        return 130
    print("error:", _one_line(problem), file=sys.stderr)
    return code


def _one_line(problem: str) -> str:
    words = hide_passwords(problem).split()
    return " ".join(word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}..." for word in words)
