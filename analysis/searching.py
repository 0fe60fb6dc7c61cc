"""Pictures of a search: its learning curves, its progress, and what its parameters do. Optuna draws the last ones."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from matplotlib import pyplot
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from analysis.intervals import as_text
from analysis.record import VAL_ERROR, WINNER_METRIC, TrialRecord, best_of
from analysis.replicates import Replicates
from analysis.style import COLORS, save

LOG_FROM = 20
"""Positive values whose largest is this many times the smallest are shown on a logarithmic scale."""
SHARED = ("data", "protocol", "batch_norm")
"""Fields that all configs of a search share."""
PLOTS: dict[str, tuple[Callable[..., Any], str]] = {
    "parallel": (optuna.visualization.matplotlib.plot_parallel_coordinate, "Every trial as a line through its values."),
    "importance": (optuna.visualization.matplotlib.plot_param_importances, "Share of the error's variance (fANOVA)."),
    "slices": (optuna.visualization.matplotlib.plot_slice, "Validation error by each parameter."),
}


def varied(trials: Sequence[TrialRecord]) -> dict[str, BaseDistribution]:
    """The config's fields in which the trials differ, each with the range that was tried."""
    configs = [trial.config.model_dump(mode="json") for trial in trials]
    fields = [name for name in configs[0] if len({str(config[name]) for config in configs}) > 1] if configs else []
    return {name: _distribution([config[name] for config in configs]) for name in fields}


def facts(trials: Sequence[TrialRecord], published: Replicates | None) -> list[tuple[str, str]]:
    """What a search spent and found, beside the report's own batch-norm config where that is recorded."""
    complete = sum(trial.complete for trial in trials)
    hours = sum(seconds for trial in trials for _, seconds in trial.metrics.get("epoch_s", [])) / 3600
    rows = [
        ("trials", f"{len(trials)}: {complete} ran to their last epoch, {len(trials) - complete} stopped by ASHA"),
        ("training", f"{sum(len(trial.metrics[VAL_ERROR]) for trial in trials)} epochs, {hours:.2f} slot hours"),
    ]
    best = best_of(trials)
    if best is None:
        return [*rows, ("best config", "missing: no trial has run to its last epoch")]
    found = {name: value for name, value in best.config.canonical().items() if name not in SHARED}
    read = best.metrics.get(WINNER_METRIC)
    rows += [
        ("best config", f"{best.name}: " + ", ".join(f"{n} {_short(v)}" for n, v in found.items())),
        ("its validation error", f"{best.metrics[VAL_ERROR][-1][1]:.4f}, seed {_listed(best.seeds)}; the lowest of "
         f"{complete}, hence optimistic"),
        ("its test error, read once", f"{read[-1][1]:.4f}" if read else "missing: not read yet"),
    ]  # fmt: skip
    if published:
        errors = [series[-1][1] for series in published.by_seed("test_error").values()]
        rows.append(
            (
                "the report's batch-norm config",
                f"test error after the last epoch {as_text(errors)}, seeds {_listed(published.seeds)}, trained on the "
                "whole train split",
            )
        )
    return rows


def draw_learning_curves(trials: Sequence[TrialRecord], file: Path) -> Path:
    """Validation error by epoch; a cross where the scheduler stopped a trial, a dot where one ran to its end."""
    figure, axis = pyplot.subplots(figsize=(8, 4), layout="constrained")
    rows, stops = [], set()
    for trial in trials:
        series = trial.metrics.get(VAL_ERROR, [])
        if not series:
            continue
        epochs, errors = zip(*series, strict=True)
        color, mark = (COLORS[1], "o") if trial.complete else (COLORS[2], "x")
        axis.plot(epochs, errors, color=color, linewidth=0.9, alpha=0.7)
        axis.plot(epochs[-1], errors[-1], mark, color=color, markersize=5)
        rows += [(trial.name, epoch, error, trial.complete) for epoch, error in series]
        if not trial.complete:
            stops.add(epochs[-1])
    for epoch in stops:
        axis.axvline(epoch, color="grey", linestyle=":", linewidth=1)
    axis.plot([], [], "o-", color=COLORS[1], label="ran to its last epoch")
    axis.plot([], [], "x-", color=COLORS[2], label="stopped by ASHA at a rung (dotted)")
    axis.set(xlabel="epoch", ylabel="validation error", ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return save(figure, file, ("trial", "epoch", VAL_ERROR, "complete"), rows)


def draw_best_so_far(trials: Sequence[TrialRecord], file: Path) -> Path:
    """The best validation error of the trials that ran to their end, by the training time that the search had spent."""
    spent, best, points = 0.0, float("inf"), []
    for trial in trials:
        spent += sum(seconds for _, seconds in trial.metrics.get("epoch_s", []))
        if trial.complete:
            best = min(best, trial.metrics[VAL_ERROR][-1][1])
            points.append((trial.name, spent, best))
    figure, axis = pyplot.subplots(figsize=(8, 3.4), layout="constrained")
    axis.step([seconds for _, seconds, _ in points], [error for *_, error in points], where="post", color=COLORS[1])
    axis.set(xlabel="training time spent, s", ylabel="best validation error")
    axis.grid(alpha=0.3)
    return save(figure, file, ("trial", "training_s", "best_val_error"), points)


def draw_parameters(trials: Sequence[TrialRecord], plot: str, file: Path) -> Path:
    """One of `PLOTS` over the trials that ran to their end."""
    space, complete = varied(trials), [trial for trial in trials if trial.complete]
    study = optuna.create_study()
    values = [[_plain(trial.config.model_dump(mode="json")[name]) for name in space] for trial in complete]
    for trial, row in zip(complete, values, strict=True):
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=trial.metrics[VAL_ERROR][-1][1],
                params=dict(zip(space, row, strict=True)),
                distributions=space,
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its matplotlib plots experimental
        axes = PLOTS[plot][0](study)
        figure = axes.flat[0].figure if hasattr(axes, "flat") else axes.figure
        figure.set_size_inches(3 * len(space) if plot == "slices" else 9, 4)
        figure.tight_layout()
    rows = [(trial.name, trial.metrics[VAL_ERROR][-1][1], *row) for trial, row in zip(complete, values, strict=True)]
    return save(figure, file, ("trial", VAL_ERROR, *space), rows)


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    if any(isinstance(value, str | bool | list) for value in values):
        return CategoricalDistribution(sorted({_plain(value) for value in values}, key=str))
    low, high = float(min(values)), float(max(values))
    return FloatDistribution(low, high, log=low > 0 and high / low > LOG_FROM)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, list) else value
