"""How wide printed tables are. It imports nothing heavy, so that `--help` and a refusal come at once."""

import sys

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

TABLE_WIDTH = 120
"""Columns of the screen that a table may take."""


def output(*, stderr: bool = False) -> Console:
    """Standard output or error. Where it is no terminal, tables have `TABLE_WIDTH` and lines of text are not broken: a
    log is read line by line. Brackets in names are no markup."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal else TABLE_WIDTH
    return Console(stderr=stderr, width=width, soft_wrap=not terminal, markup=False, emoji=False)


def print_table(console: Console, table: Table) -> None:
    """Print a table with all of its columns: a narrow terminal breaks the lines, where rich would leave columns out."""
    needed = Measurement.get(console, console.options.update(max_width=TABLE_WIDTH), table).maximum
    if needed > console.width:
        table.width = needed
    console.print(table, crop=False, soft_wrap=False)
