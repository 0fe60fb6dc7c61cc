"""The report's tables beside what was reproduced: every cell is computed from recorded trials."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean

from scipy import stats

from analysis.intervals import CONFIDENCE, as_text, half_width
from analysis.record import Series, SweepRecord, TrialRecord
from analysis.replicates import replicates
from trainable.config import Config
from trainable.study import PlacedTable, Reported

SPLITS = ("train", "test")
NUMBERS = (
    "row", "seed", "train error", "train epoch", "test error", "test epoch", "last epoch's test error",
    "reported train error", "reported test error",
)  # fmt: skip
TEST_IMAGES = 10_000
"""Of CIFAR-10, where the reported figures come from."""


@dataclass(frozen=True)
class Cell:
    """An error over seeds: each seed's minimum over the epochs, as the report prints it, and its last epoch's."""

    minima: tuple[float, ...]
    epochs: tuple[int, ...]
    """The 1-based epoch of each minimum."""
    finals: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The seeds' mean of the minima."""
        return mean(self.minima)

    @property
    def final_mean(self) -> float:
        """The seeds' mean of the last epoch's error."""
        return mean(self.finals)

    @property
    def half_width(self) -> float | None:
        """Half the 95% confidence interval of the mean (Student's t); None for one seed."""
        return half_width(self.minima)

    def next_run(self) -> tuple[float, float] | None:
        """The 95% prediction interval of one more run; None for one seed."""
        half = half_width(self.minima, next_run=True)
        return None if half is None else (self.mean - half, self.mean + half)


@dataclass(frozen=True)
class ReproducedRow:
    """A row of a table; a cell is None where the record lacks it."""

    name: str
    key: str
    reported: Reported | None
    seeds: tuple[int, ...]
    train: Cell | None
    test: Cell | None


@dataclass(frozen=True)
class ReproducedTable:
    """A table with its rows filled in."""

    table: PlacedTable
    rows: tuple[ReproducedRow, ...]

    @property
    def data(self) -> str:
        """The data set."""
        return self.table.rows[0].config.data

    @property
    def comparable(self) -> bool:
        """Whether the reported figures may stand beside these: the table's baseline is the report's own, on CIFAR-10,
        so that no other data, epochs or settings are compared with them."""
        reports_own = any(row.config == Config() for row in self.table.rows)
        return reports_own and any(row.reported for row in self.rows)

    def as_text(self) -> list[list[str]]:
        """A header and a line a row, for any renderer: what the record lacks is `missing`, never zero."""
        lines = [["", "train error", "test error", "last epoch", "seeds"]]
        for row in self.rows:
            seeds = ", ".join(map(str, row.seeds)) or "-"
            last = "missing" if row.test is None else f"{row.test.final_mean:.4f}"
            lines.append([row.name, _text(row.train), _text(row.test), last, seeds])
        if self.comparable:
            lines[0] += ["reported train", "reported test", "reproduced"]
            for line, row in zip(lines[1:], self.rows, strict=True):
                printed = row.reported
                line += ["", "", ""] if printed is None else [
                    f"{printed.train_error:.4f} @{printed.train_epoch}",
                    f"{printed.test_error:.4f} @{printed.test_epoch}",
                    verdict(row),
                ]  # fmt: skip
        return lines

    def as_numbers(self) -> list[tuple]:
        """Under `NUMBERS`, a line for each row and seed; what the record lacks is None."""
        lines: list[tuple] = []
        for row in self.rows:
            printed = row.reported if self.comparable else None
            reported = (printed and printed.train_error, printed and printed.test_error)
            found = [(None,) * 6] if row.train is None or row.test is None else zip(
                row.seeds, row.train.minima, row.train.epochs, row.test.minima, row.test.epochs, row.test.finals,
                strict=True,
            )  # fmt: skip
            lines += [(row.name, *numbers, *reported) for numbers in found]
        return lines


def latest_tables(sweeps: Sequence[SweepRecord]) -> list[PlacedTable]:
    """Every table once, as the latest sweep that ran it placed it, in the order of their numbers."""
    latest = {table.number: table for sweep in sweeps for table in sweep.tables}
    return [latest[number] for number in sorted(latest, key=lambda n: (int("".join(filter(str.isdigit, n))), n))]


def reproduce(tables: Sequence[PlacedTable], trials: Iterable[TrialRecord]) -> list[ReproducedTable]:
    """Fill the tables from the complete trials; trials of one key with different seeds are taken together."""
    found, filled = replicates(trials), []
    for table in tables:
        rows = []
        for row in table.rows:
            train, test = (found[row.key].by_seed(f"{split}_error") if row.key in found else {} for split in SPLITS)
            rows.append(ReproducedRow(row.name, row.key, row.reported, tuple(train), _cell(train), _cell(test)))
        filled.append(ReproducedTable(table, tuple(rows)))
    return filled


def verdict(row: ReproducedRow) -> str:
    """Whether the printed test error agrees with ours: `yes` or `no` by the prediction interval of one more run; with a
    single seed `within noise` or `no` by the binomial 95% bound of two runs' difference, which is too narrow."""
    if row.reported is None or row.test is None:
        return ""
    printed = row.reported.test_error
    if interval := row.test.next_run():
        return "yes" if interval[0] <= printed <= interval[1] else "no"
    error = (printed + row.test.mean) / 2
    bound = stats.norm.ppf((1 + CONFIDENCE) / 2) * sqrt(2 * error * (1 - error) / TEST_IMAGES)
    return "within noise" if abs(printed - row.test.mean) <= bound else "no"


def _text(cell: Cell | None) -> str:
    """The mean minimum, with its interval, and the epoch of each seed's."""
    if cell is None:
        return "missing"
    return " ".join([as_text(cell.minima), *(f"@{epoch}" for epoch in cell.epochs)])


def _cell(by_seed: Mapping[int, Series]) -> Cell | None:
    if not by_seed:
        return None
    best = [min(series, key=lambda point: (point[1], point[0])) for series in by_seed.values()]
    return Cell(
        minima=tuple(value for _, value in best),
        epochs=tuple(epoch for epoch, _ in best),
        finals=tuple(series[-1][1] for series in by_seed.values()),
    )
