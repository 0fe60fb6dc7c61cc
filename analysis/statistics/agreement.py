"""How far the course report's printed errors and ours agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from statistics import mean, median

import numpy as np
from scipy import stats

from analysis.statistics.intervals import CONFIDENCE, half_width
from analysis.statistics.t_tests import paired_difference
from analysis.tables import CHANCE, Cell, Judgement, ReproducedRow, ReproducedTable, judge


@dataclass(frozen=True)
class InterquartileMean:
    """The mean of the middle half of many values: robust, as a median is, and less uncertain."""

    mean: float
    interval: tuple[float, float]
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
    """Printed errors beside rows of which every training learned. The rest stayed at chance and counts no further."""
    higher: int
    """Of how many of these ours is above the printed one."""
    median_shift: float
    """Ours minus the printed one; NaN where no training learned."""
    shift: InterquartileMean | None
    """The same of each seed of each row."""

    @property
    def unjudged(self) -> int:
        """How many have no prediction interval: one seed, or a training that stayed at chance."""
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
class ChangeAgreement:
    """How far what the printed errors say of a change, and what ours say, agree."""

    printed: int
    """Changes with a printed test error of the row and of its reference, and trainings of ours that all learned."""
    reproduced: int
    """Of how many of them one more pair of our runs would differ so with a probability of 95%."""

    @property
    def as_text(self) -> str:
        """The counts, in a sentence."""
        return (
            f"Of {self.printed} changes of the test error that the printed figures show, {self.reproduced} are "
            "reproduced."
        )


@dataclass(frozen=True)
class Disagreement:
    """A printed error that lies outside the prediction interval of one more of our runs."""

    table: str
    row: str
    split: str
    ours: float
    """The seeds' mean."""
    interval: tuple[float, float]
    """The 95% prediction interval."""
    printed: float


@dataclass(frozen=True)
class AtChance:
    """A row with seeds whose training stayed at chance."""

    table: str
    row: str
    seeds: tuple[int, ...]


def agreements(tables: Sequence[ReproducedTable]) -> list[Agreement]:
    """The agreement of the test errors and that of the train errors; empty where nothing can be compared."""
    rows = [row for _, row in _comparable_rows(tables)]
    test = [(row.held_out, row.reported.test_error) for row in rows if row.held_out and row.reported]
    train = [(row.train, row.reported.train_error) for row in rows if row.train and row.reported]
    return [_agreement("test", test), _agreement("train", train)] if rows else []


def agreement_of_changes(tables: Sequence[ReproducedTable]) -> ChangeAgreement | None:
    """The agreement of the printed test errors' differences from those of the rows' references with ours, which are
    paired by seed; None where there is none to compare. Each distinct config counts once."""
    compared = _comparable_rows(tables)
    by_key = {row.key: row for _, row in compared}
    judged = []
    for table, row in compared:
        reference = by_key.get(table.table.reference, row)
        if reference is not row and (interval := _next_change(row, reference)):
            assert row.reported and reference.reported
            judged.append(interval[0] <= row.reported.test_error - reference.reported.test_error <= interval[1])
    return ChangeAgreement(len(judged), sum(judged)) if judged else None


def _next_change(row: ReproducedRow, reference: ReproducedRow) -> tuple[float, float] | None:
    """The 95% prediction interval of the difference of one more pair of runs; None for fewer than two seeds that both
    have, and where a training stayed at chance."""
    assert row.held_out and reference.held_out
    if row.held_out.at_chance or reference.held_out.at_chance:
        return None
    minima, reference_minima = (
        dict(zip(seeds, cell.minima, strict=True))
        for seeds, cell in ((row.seeds, row.held_out), (reference.seeds, reference.held_out))
    )
    differences = paired_difference(minima, reference_minima).values
    half = half_width(differences, next_run=True)
    return None if half is None else (mean(differences) - half, mean(differences) + half)


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


def rows_at_chance(tables: Sequence[ReproducedTable]) -> list[AtChance]:
    """The rows of which a seed's training learned nothing."""
    rows = []
    for table in tables:
        for row in table.rows:
            errors = zip(row.seeds, row.held_out.minima, strict=True) if row.held_out else ()
            if seeds := tuple(seed for seed, error in errors if error >= CHANCE):
                rows.append(AtChance(table.table.number, row.name, seeds))
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
    learned = [(cell, printed) for cell, printed in figures if not cell.at_chance]
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
    return InterquartileMean(float(middle(*map(np.array, several))), (float(low), float(high)))
