"""How every command here ends: bad input is one line on standard error and exit code 2, Ctrl-C is 130."""

import sys
from collections.abc import Iterable

import typer

from sweeps.errors import UsageError
from trainable.sources import DataError


def default_studies(names: Iterable[str]) -> None:
    """Let a command run these studies where its arguments name none."""
    if not any(argument.startswith(("--studies", "--study")) for argument in sys.argv[1:]):
        sys.argv[1:1] = ["--studies", ",".join(names)]


def run_command(app: typer.Typer) -> None:
    """Run a command line and exit."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        problem = error.format_message()
    except (UsageError, DataError) as error:
        problem = str(error)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    print("error:", " ".join(problem.split()), file=sys.stderr)
    sys.exit(2)
