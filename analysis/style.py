"""How every picture looks, and that its numbers lie beside it."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

COLORS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which people who do not see all colours tell apart; `LINES` tells them apart in print."""
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def line_style(place: int) -> dict[str, Any]:
    """Colour and dashes of a picture's n-th line."""
    return {"color": COLORS[place % len(COLORS)], "linestyle": LINES[place % len(LINES)]}


def save(figure: Figure, file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write the picture, and the numbers in it as CSV under the same name."""
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
    write_csv(file.with_suffix(".csv"), header, rows)
    return file


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under a header; figures to six significant digits."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
