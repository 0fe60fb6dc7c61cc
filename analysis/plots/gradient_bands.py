"""The picture of the loss along the gradient while training (Santurkar et al. 2018, figure 4)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import LogLocator

from analysis.plots.style import line_style, save

HEADER = ("network", "step", "measure", "low", "high")
HATCHES = ("", "////")
"""The bands of two networks are told apart by these in black and white print."""
NARROW = 100
"""A logarithmic axis that ends at less than this many times its start has labels between the powers of ten."""
TITLES = ("loss after the step", "gradient predictiveness", "effective beta-smoothness")


def draw_smoothness(probes: Mapping[str, np.ndarray], steps: Mapping[str, np.ndarray], title: str, file: Path) -> Path:
    """The band of each measurement over the step sizes, by training step. Beta-smoothness is its maximum over them, as
    in the paper.

    `probes` maps a network to (probes, step sizes, 3), and `steps` to the training steps that were probed, (probes,).
    """
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    rows = []
    for index, (name, measured) in enumerate(probes.items()):
        for column, axis in enumerate(axes):
            values = measured[:, :, column]
            low, high = values.min(1), values.max(1)
            style = line_style(index)
            if column < 2:
                axis.fill_between(
                    steps[name], low, high, facecolor=(style["color"], 0.3), edgecolor=style["color"], linewidth=0.6,
                    hatch=HATCHES[index % len(HATCHES)], label=name,
                )  # fmt: skip
            else:
                axis.plot(steps[name], high, label=name, linewidth=1, **style)
            rows += [
                (name, int(step), TITLES[column], float(a), float(b))
                for step, a, b in zip(steps[name], low, high, strict=True)
            ]
    for axis, label in zip(axes, TITLES, strict=True):
        axis.set(xlabel="step", ylabel=label, yscale="log")
        axis.yaxis.set_major_formatter("{x:g}")
        low, high = axis.get_ylim()
        if high < NARROW * low:
            axis.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            axis.yaxis.set_minor_formatter("{x:g}")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    axes[2].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    return save(figure, file, HEADER, rows)
