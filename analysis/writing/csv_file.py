"""How the report writes numbers to CSV files."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows below a header: floats to six significant digits, None as an empty cell. Raises `ValueError` for a row
    with more or fewer values than the header has names."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            if len(row) != len(header):
                raise ValueError(f"{file.name}: {len(row)} values under {len(header)} names")
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
