"""How far the course report's printed errors and ours agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import median, variance

import numpy as np
from scipy import stats

from analysis.statistics.cells import Cell, Judgement, judge
from analysis.statistics.intervals import CONFIDENCE, Interval
from analysis.tables import ReproducedRow, ReproducedTable
from analysis.writing.words import counted, verb


@dataclass(frozen=True)
class InterquartileMean:
    """The mean of the middle half of many values: robust, as a median is, and less uncertain."""

    mean: float
    interval: Interval
    """The 95% interval."""


@dataclass(frozen=True)
class Agreement:
    """The verdicts on the printed errors of one split, each distinct config once."""

    split: str
    """`test` or `train`."""
    printed: int
    """Printed errors that have one of ours beside them."""
    reproduced: int
    not_reproduced: int
    learned: int
    """Printed errors beside rows of which every training learned. The rest learned nothing and counts no further."""
    higher: int
    """How many of our means lie above the printed error."""
    median_shift: float
    """The median of our mean minus the printed error; NaN where no training learned."""
    shift: InterquartileMean | None
    """The interquartile mean of our error minus the printed one, over all seeds of all rows."""

    @property
    def unjudged(self) -> int:
        """How many have no prediction interval: one seed, or a training that learned nothing."""
        return self.printed - self.reproduced - self.not_reproduced

    @property
    def shift_text(self) -> str:
        """How our errors lie beside the printed ones, in a sentence."""
        if not self.learned:
            return "No training behind them learned."
        rows = f"the {self.learned} whose trainings learned" if self.learned < self.printed else str(self.printed)
        return f"Ours are higher in {self.higher} of {rows}, with a median difference of {self.median_shift:+.4f}."

    @property
    def chance_p(self) -> float:
        """The probability that so many or more are not reproduced by chance alone, where each of those judged lies
        outside its interval with the probability that the interval leaves. Rows count as independent."""
        judged = self.reproduced + self.not_reproduced
        return float(stats.binom.sf(self.not_reproduced - 1, judged, 1 - CONFIDENCE))


@dataclass(frozen=True)
class PrintedChange:
    """A printed test error minus that of the row's reference, beside ours."""

    table: str
    row: str
    printed: float
    ours: float
    """The difference of the means over the seeds."""
    interval: Interval
    """The 95% prediction interval of the difference of one more pair of runs. The two count as independent: the course
    report does not say that its runs had the same seed."""

    @property
    def reproduced(self) -> bool:
        """Whether one more pair of our runs would differ so with a probability of 95%."""
        return self.interval.contains(self.printed)

    @property
    def direction_open(self) -> bool:
        """Whether one more pair of runs may differ in either direction. Then a printed change of 0 would count as
        reproduced, too."""
        return self.interval.contains(0)


@dataclass(frozen=True)
class Disagreement:
    """A printed error that lies outside the prediction interval of one more of our runs."""

    table: str
    row: str
    split: str
    ours: float
    """The seeds' mean."""
    interval: Interval
    """The 95% prediction interval."""
    printed: float


@dataclass(frozen=True)
class LearnedNothing:
    """A row with seeds whose training learned nothing."""

    table: str
    row: str
    seeds: tuple[int, ...]


def agreements(tables: Sequence[ReproducedTable]) -> list[Agreement]:
    """The agreement of the test errors and that of the train errors; empty where nothing can be compared."""
    rows = [row for _, row in _comparable_rows(tables)]
    test = [(row.held_out, row.reported.test_error) for row in rows if row.held_out and row.reported]
    train = [(row.train, row.reported.train_error) for row in rows if row.train and row.reported]
    return [_agreement("test", test), _agreement("train", train)] if rows else []


def printed_changes(tables: Sequence[ReproducedTable]) -> list[PrintedChange]:
    """The changes with a printed test error of the row and of its reference, and trainings of ours that all learned.
    Each distinct config counts once."""
    compared = _comparable_rows(tables)
    by_key = {row.key: row for _, row in compared}
    changes = []
    for table, row in compared:
        reference = by_key.get(table.table.reference)
        if reference is None or reference is row:
            continue
        if (half := _next_pair_half_width(row, reference)) is not None:
            assert row.reported and reference.reported and row.held_out and reference.held_out
            printed = row.reported.test_error - reference.reported.test_error
            ours = row.held_out.mean - reference.held_out.mean
            changes.append(
                PrintedChange(table.table.number, row.name, printed, ours, Interval(ours - half, ours + half))
            )
    return changes


def changes_text(changes: Sequence[PrintedChange]) -> str:
    """How many of these are reproduced, and of how many the direction is open, in sentences. Empty for none."""
    if not changes:
        return ""
    reproduced = sum(change.reproduced for change in changes)
    undirected = sum(change.direction_open for change in changes)
    return (
        f"Of {counted(len(changes), 'printed change')} of the test error, {reproduced} {verb(reproduced, 'lie')} where "
        "that of one more pair of our runs would fall with a probability of 95%."
        + (
            f" For {undirected} of them that range includes no change at all, so that it confirms no direction."
            if undirected
            else ""
        )
    )


def _next_pair_half_width(row: ReproducedRow, reference: ReproducedRow) -> float | None:
    """Half the 95% prediction interval of the minimum of one more run of a row minus that of one of its reference, with
    the degrees of freedom of Welch (1947, Biometrika 34:28-35). None where either has one seed, or a training that
    learned nothing."""
    assert row.held_out and reference.held_out
    cells = (row.held_out, reference.held_out)
    if any(cell.learned_nothing or len(cell.minima) < 2 for cell in cells):
        return None
    dofs = [len(cell.minima) - 1 for cell in cells]
    variances = [variance(cell.minima) * (1 + 1 / len(cell.minima)) for cell in cells]
    both = sum(variances)
    if not both:
        return 0.0
    dof = both**2 / sum(each**2 / of_it for each, of_it in zip(variances, dofs, strict=True))
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, dof)) * sqrt(both)


def disagreements(tables: Sequence[ReproducedTable]) -> list[Disagreement]:
    """The printed errors that are not reproduced, each distinct config once."""
    outside = []
    for table, row in _comparable_rows(tables):
        assert row.train and row.held_out and row.reported
        figures = (("train", row.train, row.reported.train_error), ("test", row.held_out, row.reported.test_error))
        for split, cell, printed in figures:
            interval = cell.next_run()
            if interval and judge(cell, printed) is Judgement.NO:
                outside.append(Disagreement(table.table.number, row.name, split, cell.mean, interval, printed))
    return outside


def rows_that_learned_nothing(tables: Sequence[ReproducedTable]) -> list[LearnedNothing]:
    """The rows of which a seed's training learned nothing."""
    rows = []
    for table in tables:
        for row in table.rows:
            if row.held_out and row.held_out.learned_nothing:
                errors = zip(row.seeds, row.held_out.minima, strict=True)
                seeds = tuple(seed for seed, error in errors if error >= row.held_out.chance)
                rows.append(LearnedNothing(table.table.number, row.name, seeds))
    return rows


def _comparable_rows(tables: Sequence[ReproducedTable]) -> list[tuple[ReproducedTable, ReproducedRow]]:
    """Each distinct config with a printed error and one of ours, in the first table that has it."""
    rows: dict[str, tuple[ReproducedTable, ReproducedRow]] = {}
    for table in tables:
        for row in table.rows:
            if row.judgements:
                rows.setdefault(row.key, (table, row))
    return list(rows.values())


def _agreement(split: str, figures: Sequence[tuple[Cell, float]]) -> Agreement:
    judged = Counter(judge(cell, printed) for cell, printed in figures)
    learned = [(cell, printed) for cell, printed in figures if not cell.learned_nothing]
    shifts = [cell.mean - printed for cell, printed in learned]
    return Agreement(
        split,
        printed=len(figures),
        reproduced=judged[Judgement.YES],
        not_reproduced=judged[Judgement.NO],
        learned=len(learned),
        higher=sum(shift > 0 for shift in shifts),
        median_shift=median(shifts) if shifts else nan,
        shift=interquartile_mean([[minimum - printed for minimum in cell.minima] for cell, printed in learned]),
    )


def interquartile_mean(rows: Sequence[Sequence[float]]) -> InterquartileMean | None:
    """The mean of the middle half of all seeds of all rows, with the interval of the stratified bootstrap, which draws
    the seeds of each row again (Agarwal et al. 2021, NeurIPS, section 4).

    A row of n seeds that is drawn again varies (n - 1) / n as much as new seeds would, which makes intervals from few
    seeds too narrow. Its values are moved apart by the root of n / (n - 1) before (Davison and Hinkley 1997, Bootstrap
    Methods and their Application, section 2.3).

    The interval speaks of new seeds of the same rows. Rows of one seed are left out; None where there are no others.
    """
    several = [row for row in rows if len(row) > 1]
    if not several:
        return None

    def middle(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        return stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis)

    apart = [row.mean() + (row - row.mean()) * np.sqrt(len(row) / (len(row) - 1)) for row in map(np.array, several)]
    drawn = stats.bootstrap(apart, middle, n_resamples=2000, confidence_level=CONFIDENCE, method="percentile", rng=0)
    low, high = drawn.confidence_interval
    return InterquartileMean(float(middle(*map(np.array, several))), Interval(float(low), float(high)))
