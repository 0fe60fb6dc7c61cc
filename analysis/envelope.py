"""The loss envelope (the report's section 1.3.2): how much the mini-batch loss depends on the learning rate.

One network is trained at several learning rates with the same batches; at every step the band lies between the smallest
and the largest of their losses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from analysis.intervals import as_text
from analysis.style import COLORS, save

STARTS = (1, 2, 6, 11, 21, 51)
"""First epochs of the ranges over which a band's height is averaged."""
SMOOTHED = 51
"""Steps of the moving mean that is drawn over a band's bounds."""
HEADER = ("network", "step", "low", "high")


def ranges(epochs: int) -> list[tuple[int, int]]:
    """First and last epoch of each range of a training of so many epochs."""
    starts = [start for start in STARTS if start <= epochs]
    return list(zip(starts, [*(start - 1 for start in starts[1:]), epochs], strict=True))


def gaps_header(epochs: int) -> list[str]:
    """Over `gap_rows`."""
    spans = (f"epoch {a}" if a == b else f"epochs {a} to {b}" for a, b in ranges(epochs))
    return ["network", "seeds", *spans]


@dataclass(frozen=True)
class Envelope:
    """A network's band, for each seed: (seeds, steps)."""

    name: str
    seeds: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray
    steps_an_epoch: int

    @property
    def epochs(self) -> int:
        """Of the training."""
        return self.low.shape[1] // self.steps_an_epoch

    def gaps(self) -> list[dict[int, float]]:
        """For each of the training's `ranges` the band's mean height by seed."""
        heights, steps = self.high - self.low, self.steps_an_epoch
        parts = [heights[:, (first - 1) * steps : last * steps] for first, last in ranges(self.epochs)]
        return [dict(zip(self.seeds, part.mean(1).tolist(), strict=True)) for part in parts]


def envelope(name: str, losses: Sequence[Mapping[int, np.ndarray]], steps_an_epoch: int) -> Envelope | None:
    """The band of one network's trainings, one a learning rate: each maps a seed to its loss at every step.

    Seeds that not every learning rate has are left out; None where none is left.
    """
    seeds = sorted(set.intersection(*(set(each) for each in losses))) if losses else []
    if not seeds:
        return None
    stacked = np.array([[each[seed] for seed in seeds] for each in losses])
    return Envelope(name, tuple(seeds), stacked.min(0), stacked.max(0), steps_an_epoch)


def gap_rows(envelopes: Sequence[Envelope]) -> list[list[str]]:
    """Under `gaps_header`: each network's mean gaps, and of a pair the second's minus the first's, paired by seed."""
    rows = [_gap_row(each.name, each.gaps(), ".4f") for each in envelopes]
    if len(envelopes) == 2:
        by_range = zip(*(each.gaps() for each in envelopes), strict=True)
        differences = [{seed: b[seed] - a[seed] for seed in a.keys() & b.keys()} for a, b in by_range]
        rows.append(_gap_row("difference, paired by seed", differences, "+.4f"))
    return rows


def _gap_row(name: str, gaps: Sequence[Mapping[int, float]], digits: str) -> list[str]:
    texts = [as_text(list(by_seed.values()), digits) if by_seed else "-" for by_seed in gaps]
    return [name, str(len(gaps[0])), *texts]


def draw_envelopes(envelopes: Sequence[Envelope], data: str, rates: str, file: Path) -> Path:
    """The bands of the networks compared, on the same axes: the first seed's."""
    figure, axes = pyplot.subplots(
        1, len(envelopes), figsize=(9, 3.6), sharey=True, layout="constrained", squeeze=False
    )
    rows = []
    top = max(float(np.quantile(each.high[0], 0.999)) for each in envelopes)
    for place, (axis, each) in enumerate(zip(axes[0], envelopes, strict=True)):
        steps = np.arange(1, each.low.shape[1] + 1)
        axis.fill_between(steps, each.low[0], each.high[0], color=COLORS[1 + place], linewidth=0, alpha=0.35,
                          label="at each step")  # fmt: skip
        width = min(SMOOTHED, len(steps))
        for bound, label in ((each.low[0], f"mean of {width} steps"), (each.high[0], None)):
            smooth = np.convolve(bound, np.ones(width) / width, mode="valid")
            axis.plot(steps[: len(smooth)] + width // 2, smooth, color=COLORS[1 + place], linewidth=1.2,
                      label=label)  # fmt: skip
        axis.legend(fontsize=8)
        axis.set_title(f"{each.name}, seed {each.seeds[0]} of {len(each.seeds)}", fontsize=9)
        axis.set(xlabel=f"step ({each.steps_an_epoch} an epoch)", ylim=(0, top))
        axis.grid(alpha=0.3)
        rows += [
            (each.name, int(step), float(low), float(high))
            for step, low, high in zip(steps, each.low[0], each.high[0], strict=True)
        ]
    axes[0, 0].set_ylabel("mini-batch loss, cut at its 99.9% quantile")
    figure.suptitle(f"Smallest to largest loss over the learning rates {rates}, {data}", fontsize=10)
    return save(figure, file, HEADER, rows)
