"""The course report's tables with our errors beside the printed ones. Every cell is computed from recorded trials."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from analysis.record.recorded import Series, SweepRecord
from analysis.record.replicates import Replicates
from analysis.statistics.cells import Cell, Judgement, cell_of, judge
from analysis.statistics.crossed import CorrectImages, crossed_half_width, stacked
from analysis.statistics.intervals import from_to, seeds_text
from trainable.config import Config
from trainable.study import Reported, ResolvedTable

NUMBERS = (
    "row", "seed", "train error", "train epoch", "last train error", "held-out error", "held-out epoch",
    "last held-out error", "reported train error", "reported test error",
)  # fmt: skip
BASELINE = Config()
HELD_OUT = {"test_error": "test error", "val_error": "validation error"}
"""The metrics on what a training does not see (`Config.held_out`), in words."""


@dataclass(frozen=True)
class ReproducedRow:
    """A row of a table; a cell is None where the record lacks it."""

    name: str
    key: str
    reported: Reported | None
    """None where nothing is printed, and where the printed figure must not be compared with ours."""
    seeds: tuple[int, ...]
    train: Cell | None
    held_out: Cell | None
    """The test error; under protocol B, which leaves the test split alone, the validation error."""
    new_images_half_width: float | None = None
    """Half the 95% interval of the mean error after the last epoch over new seeds and new images. None for one seed,
    where a training ended at chance, and where the record lacks which images the seeds get right."""

    @property
    def judgements(self) -> tuple[Judgement, Judgement] | None:
        """Of the printed train error and of the test error; None where nothing is printed or the record lacks ours."""
        if self.reported is None or self.train is None or self.held_out is None:
            return None
        return judge(self.train, self.reported.train_error), judge(self.held_out, self.reported.test_error)


@dataclass(frozen=True)
class ReproducedTable:
    """A table with the errors of its rows."""

    table: ResolvedTable
    rows: tuple[ReproducedRow, ...]

    @property
    def data(self) -> str:
        """The data set."""
        return self.table.rows[0].config.data.name

    @property
    def comparable(self) -> bool:
        """Whether printed figures stand beside ours."""
        return any(row.reported for row in self.rows)

    def text_cells(self) -> list[list[str]]:
        """The table as text, the header first. What the record lacks is `missing`."""
        error = HELD_OUT[self.table.rows[0].config.held_out]
        lines = [["", "train error, minimum", f"{error}, minimum", f"{error}, last epoch", "seeds"]]
        for row in self.rows:
            seeds = seeds_text(row.seeds) or "-"
            last = "missing" if row.held_out is None else row.held_out.as_text(row.held_out.finals)
            if row.new_images_half_width is not None:
                last += f" ({row.new_images_half_width:.4f} with new images)"
            lines.append([row.name, _text(row.train), _text(row.held_out), last, seeds])
        if self.comparable:
            lines[0] += ["reported train", "reported test", "reproduced: train, test"]
            for line, row in zip(lines[1:], self.rows, strict=True):
                printed = row.reported
                line += ["", "", ""] if printed is None else [
                    f"{printed.train_error:.4f} @{printed.train_epoch}",
                    f"{printed.test_error:.4f} @{printed.test_epoch}",
                    ", ".join(row.judgements or ()),
                ]  # fmt: skip
        return lines

    def as_numbers(self) -> list[tuple]:
        """The table as numbers, a line for each row and seed, with the header `NUMBERS`. What the record lacks is
        None."""
        lines: list[tuple] = []
        for row in self.rows:
            printed = row.reported
            reported = (printed and printed.train_error, printed and printed.test_error)
            by_seed: Iterable[tuple] = [(None,) * 7]
            if row.train and row.held_out:
                cells = (row.train, row.held_out)
                parts = (part for cell in cells for part in (cell.minima, cell.epochs, cell.finals))
                by_seed = zip(row.seeds, *parts, strict=True)
            lines += [(row.name, *numbers, *reported) for numbers in by_seed]
        return lines


def held_out_name(configs: Iterable[Config]) -> str:
    """The held-out error of all these configs in words; `held-out error` where they do not have the same."""
    names = {HELD_OUT[config.held_out] for config in configs}
    return names.pop() if len(names) == 1 else "held-out error"


def capital(text: str) -> str:
    """The text as the beginning of a sentence or a title."""
    return text[0].upper() + text[1:]


def network_name(table: ResolvedTable) -> str:
    """The network of a table that measures one: what follows the first comma of the title, or the whole title."""
    return table.title.partition(", ")[2] or table.title


def latest_tables(sweeps: Sequence[SweepRecord], trainings: Collection[str]) -> list[ResolvedTable]:
    """Every table once, in the order of the numbers.

    The record may have several versions of a table, for other data or epochs. The one with the most recorded rows is
    used, and among equals the latest: a short trial run must not hide finished results. `trainings` are the keys of the
    complete trainings.
    """
    chosen: dict[str, ResolvedTable] = {}
    for table in (table for sweep in sweeps for table in sweep.tables):
        before = chosen.get(table.number)
        if before is None or _recorded_rows(table, trainings) >= _recorded_rows(before, trainings):
            chosen[table.number] = table
    return [chosen[number] for number in sorted(chosen, key=lambda n: (int("".join(filter(str.isdigit, n))), n))]


def _recorded_rows(table: ResolvedTable, trainings: Collection[str]) -> int:
    return sum(row.key in trainings for row in table.rows)


def reproduce(
    tables: Sequence[ResolvedTable],
    trainings: Mapping[str, Replicates],
    correct: Mapping[str, CorrectImages] = MappingProxyType({}),
) -> list[ReproducedTable]:
    """The tables with the errors of the trainings. `correct` has the images that each seed of a key gets right, where
    they are known.

    The printed figures stand beside a table whose baseline is the course report's own, on CIFAR-10. Other data, epochs
    or settings are not compared with them.
    """
    reproduced = []
    for table in tables:
        rows, reports_own = [], any(row.config == BASELINE for row in table.rows)
        for row in table.rows:
            metrics = ("train_error", row.config.held_out)
            train, held_out = (trainings[row.key].by_seed(each) if row.key in trainings else {} for each in metrics)
            reported = row.reported if reports_own else None
            cells = cell_of(train, row.config.chance), cell_of(held_out, row.config.chance)
            half = _crossed(cells[1], held_out, correct.get(row.key, {}))
            rows.append(ReproducedRow(row.name, row.key, reported, tuple(train), *cells, half))
        reproduced.append(ReproducedTable(table, tuple(rows)))
    return reproduced


def _crossed(cell: Cell | None, by_seed: Mapping[int, Series], correct: CorrectImages) -> float | None:
    known = [seed for seed in by_seed if seed in correct]
    half = cell.final_half_width if cell else None
    return crossed_half_width(stacked(correct, known), half) if half is not None and known else None


def _text(cell: Cell | None) -> str:
    """The mean minimum with its interval, and the earliest and the latest epoch of a seed's minimum."""
    if cell is None:
        return "missing"
    return f"{cell.as_text(cell.minima)} @{from_to(cell.epochs)}"
