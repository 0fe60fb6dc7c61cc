"""The pictures of what networks predict: the confusion of classes, the error of each class, the reliability of
confidences."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axis import Axis

from analysis.plots.style import COLORS, line_style, save
from analysis.proof import Predicted, confusion, reliability

MOST_NUMBERED, MOST_NAMED = 20, 60
"""Classes that a picture has room for: with a number in each cell, and with names."""


def draw_confusion(predicted: Mapping[int, Predicted], names: Sequence[str], title: str, file: Path) -> Path:
    """The share of each true class (row) that is taken for each class (column), mean over the seeds, in percent. With
    many classes the numbers are in the CSV file alone."""
    shares = 100 * confusion(predicted)
    figure, axis = pyplot.subplots(figsize=(6.6, 5.8), layout="constrained")
    mistakes = shares - np.diag(np.diag(shares))
    axis.imshow(mistakes, cmap="Blues")
    for row, column in () if _are_many(names) else np.ndindex(*shares.shape):
        dark = mistakes[row, column] > 0.6 * mistakes.max()
        weight = "bold" if row == column else "normal"
        axis.text(column, row, f"{shares[row, column]:.1f}", ha="center", va="center", fontsize=7.5, weight=weight,
                  color="white" if dark else "black")  # fmt: skip
    _name_classes(axis.xaxis, names, **{"rotation": 90} if _are_many(names) else {"rotation": 45, "ha": "right"})
    _name_classes(axis.yaxis, names)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.set_title(f"{title}: percent of each true class", fontsize=9)
    rows = [(true, *map(float, row)) for true, row in zip(names, shares, strict=True)]
    return save(figure, file, ("true class, percent predicted as", *names), rows)


def draw_class_errors(configs: Mapping[str, Mapping[int, Predicted]], names: Sequence[str], file: Path) -> Path:
    """The error of each class, for each config: the mean over the seeds, and every seed as a dot."""
    figure, axis = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
    rows: list[tuple] = []
    width = 0.8 / len(configs)
    for index, (name, predicted) in enumerate(configs.items()):
        errors_sk = np.array([1 - np.diag(confusion({seed: each})) for seed, each in predicted.items()])
        positions = np.arange(len(names)) + (index - (len(configs) - 1) / 2) * width
        axis.bar(positions, errors_sk.mean(0), width, color=COLORS[index + 1], label=name, alpha=0.85)
        for errors_k in errors_sk:
            axis.plot(positions, errors_k, ".", color="black", markersize=3)
        rows += [(name, each, float(mean)) for each, mean in zip(names, errors_sk.mean(0), strict=True)]
    _name_classes(axis.xaxis, names, rotation=90 if _are_many(names) else 0)
    axis.set_ylabel("error of the class")
    axis.legend(fontsize=8)
    axis.grid(axis="y", alpha=0.3)
    return save(figure, file, ("config", "class", "error"), rows)


def draw_reliability(configs: Mapping[str, Mapping[int, Predicted]], file: Path) -> Path:
    """Accuracy by confidence, over all seeds of each config, beside the diagonal of perfect calibration."""
    figure, axis = pyplot.subplots(figsize=(5, 4.4), layout="constrained")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1, label="as confident as right")
    rows: list[tuple] = []
    for index, (name, predicted) in enumerate(configs.items()):
        bins = reliability(list(predicted.values()))
        axis.plot([each.confidence for each in bins], [each.accuracy for each in bins], marker="o", markersize=4,
                  label=name, **line_style(index + 1))  # fmt: skip
        rows += [(name, each.confidence, each.accuracy, each.count) for each in bins]
    axis.set_xlabel("mean confidence of the bin")
    axis.set_ylabel("share of these predictions that is right")
    axis.legend(fontsize=8, loc="upper left")
    axis.grid(alpha=0.3)
    return save(figure, file, ("config", "confidence", "accuracy", "count"), rows)


def _name_classes(axis: Axis, names: Sequence[str], **style: Any) -> None:
    """Name the classes along an axis: only so many, evenly spaced, as there is room for."""
    shown = range(0, len(names), -(-len(names) // MOST_NAMED))
    axis.set_ticks(shown, [names[each] for each in shown], fontsize=6 if _are_many(names) else 8, **style)


def _are_many(names: Sequence[str]) -> bool:
    return len(names) > MOST_NUMBERED
