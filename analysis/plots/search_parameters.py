"""Pictures of what a search's parameters do to the error. Optuna draws where its picture serves."""

import warnings
from collections.abc import Callable
from pathlib import Path

import optuna
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.importance import FirstRung
from analysis.plots.style import COLORS, save
from analysis.record.recorded import VAL_ERROR, TrialRecord
from analysis.searches import RecordedSearch, val_errors
from trainable.value_text import value_text

COLUMNS = 5
PARALLEL_AXES = 6
"""The parallel coordinates show so many parameters at most."""


def draw_slices(recorded: RecordedSearch, file: Path) -> Path:
    """The validation error by each parameter in which the trials differ, over the parameter's whole space: a dot for a
    trial that ran to its last epoch, a cross for one that the scheduler stopped, at its last error."""
    space = recorded.varied
    trials = [trial for trial in recorded.own if val_errors(trial)]
    columns = min(COLUMNS, len(space))
    lines = -(-len(space) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(2 + 2 * columns, 2.6 * lines), sharey=True,
                                   layout="constrained", squeeze=False)  # fmt: skip
    groups = (("ran to its last epoch", True, "o", COLORS[1]), ("stopped by ASHA", False, "x", COLORS[2]))
    for axis, (name, distribution) in zip(axes.flat, space.items(), strict=False):
        position = _scale(axis, distribution)
        for label, complete, marker, color in groups:
            group = [t for t in trials if t.complete == complete and recorded.value(t, name) is not None]
            positions = [position(recorded.value(trial, name)) for trial in group]
            axis.plot(positions, [_last(trial) for trial in group], marker, color=color, label=label, markersize=5)
        axis.set(xlabel=name, yscale="log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(space) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("last validation error")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle(recorded.description, fontsize=10)
    rows = [
        (trial.name, trial.complete, _last(trial), *(recorded.value(trial, name) for name in space)) for trial in trials
    ]
    return save(figure, file, ("trial", "complete", VAL_ERROR, *space), rows)


def draw_importances(first: FirstRung, file: Path) -> Path:
    """How much each parameter matters to whether a trial is among the best at the first rung."""
    shares, recorded = first.importances, first.recorded
    figure, axis = pyplot.subplots(figsize=(8, 0.9 + 0.3 * len(shares)), layout="constrained")
    axis.barh(list(shares), list(shares.values()), color=COLORS[1])
    axis.invert_yaxis()
    axis.set(xlabel=f"importance for being among the best after epoch {recorded.first_rung}", xlim=(0, 1))
    axis.set_title(_title(recorded), fontsize=10)
    return save(figure, file, ("parameter", "importance"), shares.items())


def draw_parallel(first: FirstRung, file: Path) -> Path:
    """Each trial as a line from its rank by the error at the first rung, 1 for the lowest, through its values of the
    most important parameters that every trial has, by Optuna."""
    recorded, epoch = first.recorded, first.recorded.first_rung
    shared = set.intersection(*(set(trial.params) for trial in first.study.trials))
    chosen = [name for name in first.importances if name in shared][:PARALLEL_AXES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its matplotlib plots experimental
        axis = optuna.visualization.matplotlib.plot_parallel_coordinate(
            first.study, params=chosen, target_name=f"rank after epoch {epoch}"
        )
    axis.set_title(_title(recorded), fontsize=10)
    figure = axis.get_figure(root=True)
    assert figure is not None
    for label in (label for each in figure.axes for label in each.get_yticklabels()):
        label.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1})  # lines cross the labels
    figure.set_size_inches(12, 4.5)
    figure.tight_layout()
    rows = [
        (trial.name, recorded.first_rung_error(trial), *(recorded.value(trial, name) for name in chosen))
        for trial in recorded.at_first_rung
    ]
    return save(figure, file, ("trial", f"{VAL_ERROR} after epoch {epoch}", *chosen), rows)


def _scale(axis: Axes, distribution: BaseDistribution) -> Callable:
    """Give the axis the parameter's bounds and scale; returns where on it a value stands."""
    if isinstance(distribution, CategoricalDistribution):
        axis.set_xticks(range(len(distribution.choices)), [value_text(choice) for choice in distribution.choices])
        axis.set_xlim(-0.5, len(distribution.choices) - 0.5)
        return distribution.choices.index
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.log:
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        margin = (distribution.high / distribution.low) ** 0.05
        axis.set_xlim(distribution.low / margin, distribution.high * margin)
    else:
        margin = 0.05 * (distribution.high - distribution.low)
        axis.set_xlim(distribution.low - margin, distribution.high + margin)
        if isinstance(distribution, IntDistribution):
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return lambda value: value


def _title(recorded: RecordedSearch) -> str:
    return f"{recorded.description}: {len(recorded.at_first_rung)} at the first rung, epoch {recorded.first_rung}"


def _last(trial: TrialRecord) -> float:
    return val_errors(trial)[-1][1]
