"""The report's tables beside what was reproduced: every cell is computed from recorded trials."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from analysis.intervals import as_text, half_width
from analysis.record import Series, SweepRecord, TrialRecord
from analysis.replicates import replicates
from trainable.config import Config
from trainable.study import Reported, ResolvedTable

NUMBERS = (
    "row", "seed", "train error", "epoch", "last epoch", "held-out error", "epoch", "last epoch",
    "reported train error", "reported test error",
)  # fmt: skip
CHANCE = 0.89
"""About the error of one answer for all of ten classes, which a small split has not equally often: a training that
never came below it is lost."""
BASELINE = Config()
HELD_OUT = {"test_error": "test error", "val_error": "validation error"}


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
    def half_width(self) -> float | None:
        """Half the 95% confidence interval of the mean (Student's t); None for one seed."""
        return half_width(self.minima)

    @property
    def lost(self) -> bool:
        """Whether a seed's training never left chance: with others that did, such a mix has no normal interval."""
        return max(self.minima) >= CHANCE

    def next_run(self) -> tuple[float, float] | None:
        """The 95% prediction interval of one more run, within [0, 1]; None for one seed, and where a run is lost."""
        half = half_width(self.minima, next_run=True)
        return None if half is None or self.lost else (max(0.0, self.mean - half), min(1.0, self.mean + half))

    def as_text(self, values: Sequence[float]) -> str:
        """The seeds' mean of its minima or finals, with its interval; where a run is lost, each seed's."""
        return ", ".join(f"{value:.4f}" for value in values) if self.lost else as_text(values)


@dataclass(frozen=True)
class ReproducedRow:
    """A row of a table; a cell is None where the record lacks it."""

    name: str
    key: str
    reported: Reported | None
    """None also where it may not be compared."""
    seeds: tuple[int, ...]
    train: Cell | None
    held_out: Cell | None
    """The test error; under protocol B, which leaves the test split alone, the validation error."""

    @property
    def verdicts(self) -> tuple[str, str] | None:
        """Of the printed train and test error, see `verdict`; None where none is printed or the record lacks ours."""
        if self.reported is None or self.train is None or self.held_out is None:
            return None
        return verdict(self.train, self.reported.train_error), verdict(self.held_out, self.reported.test_error)


@dataclass(frozen=True)
class ReproducedTable:
    """A table with its rows filled in."""

    table: ResolvedTable
    rows: tuple[ReproducedRow, ...]

    @property
    def data(self) -> str:
        """The data set."""
        return self.table.rows[0].config.data

    @property
    def comparable(self) -> bool:
        """Whether reported figures stand beside these."""
        return any(row.reported for row in self.rows)

    def as_text(self) -> list[list[str]]:
        """A header and a line a row, for any renderer: what the record lacks is `missing`, never zero."""
        lines = [["", "train error", HELD_OUT[self.table.rows[0].config.held_out], "last epoch", "seeds"]]
        for row in self.rows:
            seeds = ", ".join(map(str, row.seeds)) or "-"
            last = "missing" if row.held_out is None else row.held_out.as_text(row.held_out.finals)
            lines.append([row.name, _text(row.train), _text(row.held_out), last, seeds])
        if self.comparable:
            lines[0] += ["reported train", "reported test", "reproduced: train, test"]
            for line, row in zip(lines[1:], self.rows, strict=True):
                printed = row.reported
                line += ["", "", ""] if printed is None else [
                    f"{printed.train_error:.4f} @{printed.train_epoch}",
                    f"{printed.test_error:.4f} @{printed.test_epoch}",
                    ", ".join(row.verdicts or ()),
                ]  # fmt: skip
        return lines

    def as_numbers(self) -> list[tuple]:
        """Under `NUMBERS`, a line for each row and seed; what the record lacks is None."""
        lines: list[tuple] = []
        for row in self.rows:
            printed = row.reported
            reported = (printed and printed.train_error, printed and printed.test_error)
            found: Iterable[tuple] = [(None,) * 7]
            if row.train and row.held_out:
                cells = (row.train, row.held_out)
                found = zip(row.seeds, *(part for c in cells for part in (c.minima, c.epochs, c.finals)), strict=True)
            lines += [(row.name, *numbers, *reported) for numbers in found]
        return lines


def setting(config: Config) -> str:
    """What a network was trained on, for how long and in what precision."""
    return f"{config.data}, {config.epochs} epoch{'s' * (config.epochs > 1)}, {config.precision}"


def latest_tables(sweeps: Sequence[SweepRecord], found: Collection[str]) -> list[ResolvedTable]:
    """Every table once, in the order of their numbers: as the sweep placed it of whose rows the record has the most
    (`found` are the keys of the complete trainings), the latest of these. What was begun in passing, of other data or
    for fewer epochs, must not hide what is finished."""
    chosen: dict[str, ResolvedTable] = {}
    for table in (table for sweep in sweeps for table in sweep.tables):
        before = chosen.get(table.number)
        if before is None or _recorded(table, found) >= _recorded(before, found):
            chosen[table.number] = table
    return [chosen[number] for number in sorted(chosen, key=lambda n: (int("".join(filter(str.isdigit, n))), n))]


def _recorded(table: ResolvedTable, found: Collection[str]) -> int:
    return sum(row.key in found for row in table.rows)


def reproduce(tables: Sequence[ResolvedTable], trials: Iterable[TrialRecord]) -> list[ReproducedTable]:
    """Fill the tables from the complete trials; trials of one key with different seeds are taken together.

    Reported figures stand beside a table whose baseline is the report's own, on CIFAR-10: no other data, epochs or
    settings are compared with them.
    """
    found, filled = replicates(trials), []
    for table in tables:
        rows, reports_own = [], any(row.config == BASELINE for row in table.rows)
        for row in table.rows:
            metrics = ("train_error", row.config.held_out)
            train, held_out = (found[row.key].by_seed(each) if row.key in found else {} for each in metrics)
            reported = row.reported if reports_own else None
            rows.append(ReproducedRow(row.name, row.key, reported, tuple(train), cell_of(train), cell_of(held_out)))
        filled.append(ReproducedTable(table, tuple(rows)))
    return filled


def verdict(cell: Cell, printed: float) -> str:
    """Whether a printed figure lies in the 95% prediction interval of one more of our runs, or why there is none."""
    interval = cell.next_run()
    if interval is None:
        return "lost run" if cell.lost else "one seed"
    return "yes" if interval[0] <= printed <= interval[1] else "no"


def _text(cell: Cell | None) -> str:
    """The mean minimum, with its interval, and the epoch of each seed's."""
    if cell is None:
        return "missing"
    return f"{cell.as_text(cell.minima)} @{','.join(map(str, cell.epochs))}"


def cell_of(by_seed: Mapping[int, Series]) -> Cell | None:
    """An error's cell from its history by seed; None where there is none."""
    if not by_seed:
        return None
    best = [min(series, key=lambda point: (point[1], point[0])) for series in by_seed.values()]
    return Cell(
        minima=tuple(value for _, value in best),
        epochs=tuple(epoch for epoch, _ in best),
        finals=tuple(series[-1][1] for series in by_seed.values()),
    )
