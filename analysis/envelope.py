"""The loss envelope (the report's section 1.3.2): how much the mini-batch loss depends on the learning rate.

One network is trained at several learning rates with the same batches; at every step the band lies between the smallest
and the largest of their losses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from analysis.intervals import as_text
from analysis.style import line_style, save

STARTS = (1, 2, 6, 11, 21, 51)
"""First epochs of the ranges over which a band's height is averaged."""
SMOOTHED = 51
"""Steps of the moving mean of the losses that are drawn in a band."""
LEAST = 1e-4
"""Smaller mini-batch losses count as this in ratios."""
HEADER = ("network", "step", "low", "high")


def ranges(epochs: int) -> list[tuple[int, int]]:
    """First and last epoch of each range of a training of so many epochs."""
    starts = [start for start in STARTS if start <= epochs]
    return list(zip(starts, [*(start - 1 for start in starts[1:]), epochs], strict=True))


def gaps_header(epochs: int) -> list[str]:
    """Over `gap_rows`."""
    spans = (f"epoch {a}" if a == b else f"epochs {a} to {b}" for a, b in ranges(epochs))
    return ["network", "band", "seeds", *spans]


@dataclass(frozen=True)
class Envelope:
    """A network's mini-batch losses at every learning rate: (rates, seeds, steps)."""

    name: str
    rates: tuple[str, ...]
    seeds: tuple[int, ...]
    losses: np.ndarray
    steps_an_epoch: int

    @property
    def low(self) -> np.ndarray:
        """The band's lower bound, (seeds, steps)."""
        return self.losses.min(0)

    @property
    def high(self) -> np.ndarray:
        """The band's upper bound, (seeds, steps)."""
        return self.losses.max(0)

    @property
    def epochs(self) -> int:
        """Of the training."""
        return self.losses.shape[2] // self.steps_an_epoch

    @property
    def worst(self) -> tuple[str, float]:
        """The learning rate whose loss is the largest most often, and at what share of the steps."""
        counts = np.bincount(self.losses.argmax(0).ravel(), minlength=len(self.rates))
        return self.rates[counts.argmax()], float(counts.max() / counts.sum())

    def without(self, rate: str) -> "Envelope":
        """The same without one of its learning rates."""
        kept = [place for place, own in enumerate(self.rates) if own != rate]
        return replace(self, rates=tuple(self.rates[place] for place in kept), losses=self.losses[kept])

    def gaps(self) -> list[dict[int, float]]:
        """For each of the training's `ranges` the band's mean height by seed."""
        return self._by_range(self.high - self.low, np.mean)

    def ratios(self) -> list[dict[int, float]]:
        """The same of the largest loss over the smallest, as geometric means: free of how small the losses are."""
        bounds = (np.log(np.maximum(bound, LEAST)) for bound in (self.high, self.low))
        return self._by_range(np.subtract(*bounds), lambda logs, axis: np.exp(logs.mean(axis)))

    def _by_range(self, values: np.ndarray, average: Callable) -> list[dict[int, float]]:
        steps = self.steps_an_epoch
        parts = [values[:, (first - 1) * steps : last * steps] for first, last in ranges(self.epochs)]
        return [dict(zip(self.seeds, average(part, axis=1).tolist(), strict=True)) for part in parts]


def envelope(name: str, losses: Mapping[str, Mapping[int, np.ndarray]], steps_an_epoch: int) -> Envelope | None:
    """The band of one network's trainings: each learning rate maps a seed to its loss at every step.

    Seeds that not every learning rate has are left out; None where none is left.
    """
    seeds = sorted(set.intersection(*(set(each) for each in losses.values()))) if losses else []
    if not seeds:
        return None
    stacked = np.array([[each[seed] for seed in seeds] for each in losses.values()])
    return Envelope(name, tuple(losses), tuple(seeds), stacked, steps_an_epoch)


def difference(plain: Envelope, norm: Envelope) -> list[dict[int, float]]:
    """The second band's mean heights minus the first's, paired by seed."""
    by_range = zip(plain.gaps(), norm.gaps(), strict=True)
    return [{seed: b[seed] - a[seed] for seed in a.keys() & b.keys()} for a, b in by_range]


def gap_rows(envelopes: Sequence[Envelope]) -> list[list[str]]:
    """Under `gaps_header`: each network's mean heights, of a pair also the difference, then the heights without the
    learning rate that bounds the first network's band, and the ratios of the bounds."""
    height, ratio = "mean height", "largest over smallest loss"
    rows = [_gap_row(each.name, height, each.gaps(), ".4f") for each in envelopes]
    if len(envelopes) == 2:
        rows.append(_gap_row("difference, paired by seed", height, difference(*envelopes), "+.4f"))
    worst, _ = envelopes[0].worst
    rows += [_gap_row(each.name, f"{height}, without {worst}", each.without(worst).gaps(), ".4f") for each in envelopes]
    return rows + [_gap_row(each.name, ratio, each.ratios(), ".2f") for each in envelopes]


def _gap_row(name: str, band: str, gaps: Sequence[Mapping[int, float]], digits: str) -> list[str]:
    texts = [as_text(list(by_seed.values()), digits) if by_seed else "-" for by_seed in gaps]
    return [name, band, str(len(gaps[0])), *texts]


def draw_envelopes(envelopes: Sequence[Envelope], data: str, file: Path) -> Path:
    """The bands of the networks compared, on the same axes, and in them each learning rate's loss: the first seed's."""
    figure, axes = pyplot.subplots(1, len(envelopes), figsize=(11, 4), sharey=True, layout="constrained", squeeze=False)
    rows: list[tuple] = []
    highs = np.concatenate([each.high[0] for each in envelopes])
    top = float(np.quantile(highs[np.isfinite(highs)], 0.999)) if np.isfinite(highs).any() else 1.0  # or all diverged
    for axis, each in zip(axes[0], envelopes, strict=True):
        losses, low, high = each.losses[:, 0], each.low[0], each.high[0]
        steps = np.arange(1, len(low) + 1)
        axis.fill_between(steps, low, high, color="grey", linewidth=0, alpha=0.35, label="smallest to largest loss")
        width = min(SMOOTHED, len(steps))
        for place, (rate, loss) in enumerate(zip(each.rates, losses, strict=True)):
            smooth = np.convolve(loss, np.ones(width) / width, mode="valid")
            axis.plot(steps[: len(smooth)] + width // 2, smooth, linewidth=1.2, label=rate, **line_style(place))
        axis.set_title(f"{each.name}, seed {each.seeds[0]}, the first of {len(each.seeds)}", fontsize=9)
        axis.set(xlabel=f"step ({each.steps_an_epoch} an epoch)", ylim=(0, top))
        axis.grid(alpha=0.3)
        rows += [
            (each.name, int(step), *map(float, values)) for step, *values in zip(steps, low, high, *losses, strict=True)
        ]
    axes[0, 0].set_ylabel("mini-batch loss, cut at its 99.9% quantile")
    axes[0, 0].legend(fontsize=8, title=f"learning rate, mean of {width} steps")
    figure.suptitle(f"Mini-batch loss over the learning rates, {data}", fontsize=10)
    return save(figure, file, (*HEADER, *envelopes[0].rates), rows)
