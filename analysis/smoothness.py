"""Pictures of the loss along the gradient while training (Santurkar et al. 2018, figure 4)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from analysis.style import line_style, save

HEADER = ("network", "step", "measure", "low", "high")
TITLES = ("loss after the step", "gradient predictiveness", "effective beta-smoothness")


def draw_smoothness(probes: Mapping[str, np.ndarray], every: int, title: str, file: Path) -> Path:
    """Bands of what was measured over the step sizes, by training step; of beta-smoothness the maximum, as the paper.

    `probes` maps a network to (probes, step sizes, 3), probed once in `every` steps.
    """
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    rows = []
    for place, (name, measured) in enumerate(probes.items()):
        steps = every * np.arange(len(measured))
        for column, axis in enumerate(axes):
            values = measured[:, :, column]
            low, high = values.min(1), values.max(1)
            style = line_style(place)
            if column < 2:
                axis.fill_between(steps, low, high, color=style["color"], alpha=0.3, linewidth=0.5, label=name)
            else:
                axis.plot(steps, high, label=name, linewidth=1, **style)
            rows += [
                (name, int(step), TITLES[column], float(a), float(b))
                for step, a, b in zip(steps, low, high, strict=True)
            ]
    for axis, label in zip(axes, TITLES, strict=True):
        axis.set(xlabel="step", ylabel=label, yscale="log")
        axis.grid(alpha=0.3)
    axes[2].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    return save(figure, file, HEADER, rows)


def summary(probes: Mapping[str, np.ndarray]) -> list[list[str]]:
    """For each network the median over the training of the loss range, the predictiveness range and the largest
    beta-smoothness."""
    rows = []
    for name, measured in probes.items():
        ranges = np.median(measured.max(1) - measured.min(1), axis=0)
        rows.append([name, f"{ranges[0]:.4g}", f"{ranges[1]:.4g}", f"{np.median(measured[:, :, 2].max(1)):.4g}"])
    return rows
