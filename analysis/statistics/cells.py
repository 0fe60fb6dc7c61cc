"""The errors of one config over its seeds, and whether a printed error lies among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import mean

from analysis.record.recorded import Series
from analysis.record.replicates import Replicates
from analysis.statistics.intervals import Interval, half_width, mean_text


class Judgement(StrEnum):
    """Whether a printed figure is reproduced."""

    YES = "yes"
    """It lies in the 95% prediction interval of one more of our runs."""
    NO = "no"
    ONE_SEED = "one seed"
    """There is no interval."""
    AT_CHANCE = "at chance"
    """There is none, because a training learned nothing."""


@dataclass(frozen=True)
class Cell:
    """An error of each seed of a config: the minimum over the epochs, as the course report prints it, and the error
    after the last epoch."""

    minima: tuple[float, ...]
    epochs: tuple[int, ...]
    """The 1-based epoch of each minimum."""
    finals: tuple[float, ...]
    chance: float
    """A training whose error never came below this learned nothing: `Config.chance`."""

    @property
    def mean(self) -> float:
        """The seeds' mean of the minima."""
        return mean(self.minima)

    @property
    def half_width(self) -> float | None:
        """Half the 95% confidence interval of the mean of the minima (Student's t); None for one seed, and where a
        training learned nothing."""
        return None if self.learned_nothing else half_width(self.minima)

    @property
    def final_half_width(self) -> float | None:
        """The same of the errors after the last epoch; None also where a training ended at chance."""
        return None if max(self.finals) >= self.chance else half_width(self.finals)

    @property
    def learned_nothing(self) -> bool:
        """Whether a seed's training did. Mixed with seeds that learned, it has no meaningful interval."""
        return max(self.minima) >= self.chance

    def next_run(self) -> Interval | None:
        """The 95% prediction interval of the minimum of one more run, cut to [0, 1]; None for one seed, and where a
        training learned nothing."""
        half = half_width(self.minima, next_run=True)
        if half is None or self.learned_nothing:
            return None
        return Interval(max(0.0, self.mean - half), min(1.0, self.mean + half))

    def as_text(self, values: Sequence[float]) -> str:
        """The mean of the minima or of the finals with its interval; each seed's value where one of them is that of
        chance."""
        return ", ".join(f"{value:.4f}" for value in values) if max(values) >= self.chance else mean_text(values)


def judge(cell: Cell, printed: float) -> Judgement:
    """Whether a printed figure is reproduced by our errors of a row."""
    interval = cell.next_run()
    if interval is None:
        return Judgement.AT_CHANCE if cell.learned_nothing else Judgement.ONE_SEED
    return Judgement.YES if interval.contains(printed) else Judgement.NO


def cell_of(by_seed: Mapping[int, Series], chance: float) -> Cell | None:
    """The cell of an error's histories by seed, of a config with that `chance`; None where there are none."""
    if not by_seed:
        return None
    best = [min(series, key=lambda point: (point[1], point[0])) for series in by_seed.values()]
    return Cell(
        minima=tuple(value for _, value in best),
        epochs=tuple(epoch for epoch, _ in best),
        finals=tuple(series[-1][1] for series in by_seed.values()),
        chance=chance,
    )


def ended_at_chance(trained: Replicates) -> bool:
    """Whether the last error of a seed's training is not below chance: it learned nothing, or has diverged."""
    return max(trained.last_errors().values(), default=0) >= trained.config.chance
