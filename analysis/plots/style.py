"""The look of every picture. Its numbers are saved beside it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

from analysis.writing.csv_file import write_csv

COLORS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""The palette of Okabe and Ito, which people with colour blindness can tell apart; `LINES` serve black and white
print."""
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def line_style(index: int) -> dict[str, Any]:
    """The colour and dashes of a picture's line number `index`, from 0."""
    return {"color": COLORS[index % len(COLORS)], "linestyle": LINES[index % len(LINES)]}


def save(figure: Figure, file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write the picture to `file` and the numbers in it to a CSV file of the same name; returns `file`."""
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
    write_csv(file.with_suffix(".csv"), header, rows)
    return file
