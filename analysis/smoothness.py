"""Pictures of the loss along the gradient while training (Santurkar et al. 2018, figure 4)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import LogLocator

from analysis.intervals import as_text
from analysis.style import line_style, save

HEADER = ("network", "step", "measure", "low", "high")
SUMMARY_HEADER = (
    "median over the steps", "seeds", "loss range", "predictiveness range", "largest beta-smoothness",
    "beta-smoothness at the longest step",
)  # fmt: skip
HATCHES = ("", "////")
"""Of the bands of the networks compared: told apart in print."""
NARROW = 100
"""A logarithmic axis that ends at less than this many times its start has figures between the powers of ten."""
TITLES = ("loss after the step", "gradient predictiveness", "effective beta-smoothness")


def draw_smoothness(probes: Mapping[str, np.ndarray], steps: np.ndarray, title: str, file: Path) -> Path:
    """Bands of what was measured over the step sizes, by training step; of beta-smoothness the maximum, as the paper.

    `probes` maps a network to (probes, step sizes, 3), `steps` are those of the probes.
    """
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    rows = []
    for place, (name, measured) in enumerate(probes.items()):
        for column, axis in enumerate(axes):
            values = measured[:, :, column]
            low, high = values.min(1), values.max(1)
            style = line_style(place)
            if column < 2:
                axis.fill_between(
                    steps, low, high, facecolor=(style["color"], 0.3), edgecolor=style["color"], linewidth=0.6,
                    hatch=HATCHES[place], label=name,
                )  # fmt: skip
            else:
                axis.plot(steps, high, label=name, linewidth=1, **style)
            rows += [
                (name, int(step), TITLES[column], float(a), float(b))
                for step, a, b in zip(steps, low, high, strict=True)
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


def probe_steps(every: int, steps_an_epoch: int, epochs: int) -> np.ndarray:
    """The steps of a training that were probed: once in `every`, counted anew in each epoch."""
    return (steps_an_epoch * np.arange(epochs)[:, None] + np.arange(0, steps_an_epoch, every)).ravel()


def summary(probes: Mapping[str, Mapping[int, np.ndarray]]) -> list[list[str]]:
    """Under `SUMMARY_HEADER`, for each network and its probes by seed: the median over the training of the loss range,
    of the predictiveness range and of beta-smoothness, each the seeds' mean with its interval."""
    rows = []
    for name, by_seed in probes.items():
        values = [medians(measured) for measured in by_seed.values()]
        rows.append([name, str(len(by_seed)), *(as_text(each, ".4g") for each in zip(*values, strict=True))])
    return rows


def medians(measured: np.ndarray) -> list[float]:
    """Of one training's probes, what `SUMMARY_HEADER` names."""
    low, high = measured.min(1), measured.max(1)
    return np.median([*(high - low)[:, :2].T, high[:, 2], measured[:, -1, 2]], axis=1).tolist()
