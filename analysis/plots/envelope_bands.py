"""The picture of loss envelopes: the band between the smallest and the largest mini-batch loss, by step."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from analysis.envelope import Envelope
from analysis.plots.style import line_style, save

SMOOTHED = 51
"""The losses in a band are drawn as a moving mean over so many steps."""
HEADER = ("network", "step", "low", "high")


def draw_envelopes(envelopes: Sequence[Envelope], setting: str, file: Path) -> Path:
    """The band of each network on the same axes, with the loss of each learning rate inside it. All are those of the
    first seed."""
    figure, axes = pyplot.subplots(1, len(envelopes), figsize=(11, 4), sharey=True, layout="constrained", squeeze=False)
    rows: list[tuple] = []
    highs = np.concatenate([each.high[0] for each in envelopes])
    top = float(np.quantile(highs[np.isfinite(highs)], 0.999)) if np.isfinite(highs).any() else 1.0  # or all diverged
    for axis, each in zip(axes[0], envelopes, strict=True):
        losses, low, high = each.losses[:, 0], each.low[0], each.high[0]
        steps = np.arange(1, len(low) + 1)
        axis.fill_between(steps, low, high, color="grey", linewidth=0, alpha=0.35, label="smallest to largest loss")
        width = min(SMOOTHED, len(steps))
        for index, (rate, loss) in enumerate(zip(each.rates, losses, strict=True)):
            smooth = np.convolve(loss, np.ones(width) / width, mode="valid")
            axis.plot(steps[: len(smooth)] + width // 2, smooth, linewidth=1.2, label=rate, **line_style(index))
        axis.set_title(f"{each.name}, seed {each.seeds[0]}, the first of {len(each.seeds)}", fontsize=9)
        axis.set(xlabel=f"step ({each.steps_an_epoch} an epoch)", ylim=(0, top))
        axis.grid(alpha=0.3)
        rows += [
            (each.name, int(step), *map(float, values)) for step, *values in zip(steps, low, high, *losses, strict=True)
        ]
    axes[0, 0].set_ylabel("mini-batch loss, cut at its 99.9% quantile")
    axes[0, 0].legend(fontsize=8, title=f"learning rate, mean of {width} steps")
    figure.suptitle(f"Mini-batch loss over the learning rates, {setting}", fontsize=10)
    return save(figure, file, (*HEADER, *envelopes[0].rates), rows)
