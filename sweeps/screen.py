"""How wide printed tables are. It imports nothing heavy, so that `--help` and a refusal come at once."""

import sys

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

TABLE_WIDTH = 120
"""Columns of a terminal that a table may take."""
LINE_WIDTH = 10_000
"""Characters that a row may take where it is no terminal."""


def output(*, stderr: bool = False) -> Console:
    """Standard output or error. Where it is no terminal, lines are not broken: a log is read line by line. Brackets in
    names are no markup."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal else TABLE_WIDTH
    return Console(stderr=stderr, width=width, soft_wrap=not terminal, markup=False, emoji=False)


def print_table(console: Console, table: Table) -> None:
    """Print a table with all of its columns: a narrow terminal breaks the lines, where rich would leave columns out.
    Where it is no terminal, each row is a line."""
    most = TABLE_WIDTH if console.is_terminal else LINE_WIDTH
    needed = Measurement.get(console, console.options.update(max_width=most), table).maximum
    if needed > console.width:
        table.width = needed
    console.print(table, crop=False, soft_wrap=False)
