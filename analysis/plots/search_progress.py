"""Pictures of how a search went: its learning curves and its best error by the time it took."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from analysis.plots.style import COLORS, save
from analysis.record.recorded import VAL_ERROR
from analysis.searches import RecordedSearch, training_seconds, val_errors


def draw_learning_curves(recorded: RecordedSearch, file: Path) -> Path:
    """The validation error of each trial by epoch: a cross where the scheduler stopped a trial, a dot where one ran to
    its last epoch, an arrow head where one still runs. The scheduler's rungs are dotted lines."""
    figure, axis = pyplot.subplots(figsize=(8, 4), layout="constrained")
    stopped = [trial for trial in recorded.own if not trial.complete]
    groups = (
        ("ran to its last epoch", recorded.complete, "o", COLORS[1]),
        ("stopped by ASHA, whose rungs are dotted", stopped, "x", COLORS[2]),
        ("still runs", recorded.running, ">", COLORS[0]),
    )
    for label, trials, mark, color in groups:
        curves = [series for trial in trials if (series := val_errors(trial))]
        axis.add_collection(LineCollection(curves, colors=color, linewidths=0.9, alpha=0.7))
        ends = np.array([series[-1] for series in curves]).reshape(-1, 2)
        axis.plot(ends[:, 0], ends[:, 1], mark, color=color, markersize=5)
        if trials:
            axis.plot([], [], f"{mark}-", color=color, label=label)
    for epoch in recorded.search.rungs:
        axis.axvline(epoch, color="grey", linestyle=":", linewidth=1)
    axis.autoscale()
    axis.set(xlabel="epoch", ylabel="validation error", ylim=(0, None))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="upper right")
    axis.set_title(recorded.description, fontsize=10)
    every = (*recorded.own, *recorded.running)
    rows = [(trial.name, epoch, error, trial.complete) for trial in every for epoch, error in val_errors(trial)]
    return save(figure, file, ("trial", "epoch", VAL_ERROR, "complete"), rows)


def draw_best_so_far(recorded: RecordedSearch, file: Path) -> Path:
    """The lowest validation error of the complete trials so far, by the training time (s) that the search had spent."""
    spent, best, points = 0.0, float("inf"), []
    for trial in recorded.own:
        spent += training_seconds(trial)
        if trial.complete:
            best = min(best, trial.metrics[VAL_ERROR])
            points.append((trial.name, spent, best))
    figure, axis = pyplot.subplots(figsize=(8, 3.4), layout="constrained")
    axis.step(
        [seconds for _, seconds, _ in points],
        [error for *_, error in points],
        where="post",
        color=COLORS[1],
        marker="o",
        markersize=4,
    )
    axis.set(xlabel="training time spent, s", ylabel="best validation error")
    axis.set_title(recorded.description, fontsize=10)
    axis.grid(alpha=0.3)
    return save(figure, file, ("trial", "training_s", "best_val_error"), points)
