"""Pictures of what a search's parameters do. Optuna weighs them, and draws where its picture serves."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from matplotlib import pyplot
from matplotlib.ticker import NullFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial

from analysis.record import VAL_ERROR, TrialRecord
from analysis.style import COLORS, save

WEIGHED = 5
"""Trials that a search must have before its parameters can be weighed."""
LOG_FROM = 20
"""Positive values whose largest is this many times the smallest are shown on a logarithmic scale."""
optuna.logging.set_verbosity(optuna.logging.WARNING)
COLUMNS = 5
PARALLEL = 6
"""Axes of the parallel coordinates at most: those of the most important parameters."""


def varied(trials: Sequence[TrialRecord]) -> dict[str, BaseDistribution]:
    """The config's fields in which the trials differ, each with the range that was tried."""
    configs = [trial.config.model_dump(mode="json") for trial in trials]
    fields = [name for name in configs[0] if len({str(config[name]) for config in configs}) > 1] if configs else []
    return {name: _distribution([config[name] for config in configs]) for name in fields}


def draw_slices(trials: Sequence[TrialRecord], what: str, file: Path) -> Path:
    """Validation error by each parameter that varies: trials that ran to their end, and where the others stopped."""
    space = varied(trials)
    lines = -(-len(space) // COLUMNS)
    figure, axes = pyplot.subplots(lines, COLUMNS, figsize=(12, 2.6 * lines), sharey=True, layout="constrained",
                                   squeeze=False)  # fmt: skip
    groups = (("ran to its end", True, "o", COLORS[1]), ("where ASHA stopped it", False, "x", COLORS[2]))
    for axis, (name, distribution) in zip(axes.flat, space.items(), strict=False):
        for label, complete, marker, color in groups:
            own = [trial for trial in trials if trial.complete == complete]
            values = [_value(trial, name) for trial in own]
            if isinstance(distribution, CategoricalDistribution):
                values = [distribution.choices.index(value) for value in values]
                axis.set_xticks(range(len(distribution.choices)), map(str, distribution.choices))
                axis.margins(x=0.3)
            axis.plot(values, [_last(trial) for trial in own], marker, color=color, label=label, markersize=5)
        if isinstance(distribution, FloatDistribution) and distribution.log:
            axis.set_xscale("log")
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(space) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("validation error")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle(what, fontsize=10)
    rows = [(trial.name, trial.complete, _last(trial), *(_value(trial, name) for name in space)) for trial in trials]
    return save(figure, file, ("trial", "complete", VAL_ERROR, *space), rows)


def draw_importances(trials: Sequence[TrialRecord], epoch: int, what: str, file: Path) -> Path:
    """Each parameter's share of the variance of the error after that epoch (Hutter et al. 2014, fANOVA), by Optuna."""
    shares = _importances(_study(trials, epoch))
    figure, axis = pyplot.subplots(figsize=(8, 0.9 + 0.3 * len(shares)), layout="constrained")
    axis.barh(list(shares), list(shares.values()), color=COLORS[1])
    axis.invert_yaxis()
    axis.set(xlabel=f"share of the variance of the validation error after epoch {epoch}", xlim=(0, 1))
    axis.set_title(what, fontsize=10)
    return save(figure, file, ("parameter", "share"), shares.items())


def draw_parallel(trials: Sequence[TrialRecord], epoch: int, what: str, file: Path) -> Path:
    """Every trial as a line from its error after that epoch through its values of the most important parameters, by
    Optuna."""
    study = _study(trials, epoch)
    chosen = list(_importances(study))[:PARALLEL]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its matplotlib plots experimental
        axis = optuna.visualization.matplotlib.plot_parallel_coordinate(
            study, params=chosen, target_name=f"error after epoch {epoch}"
        )
    axis.set_title(what, fontsize=10)
    figure = axis.get_figure(root=True)
    assert figure is not None
    figure.set_size_inches(12, 4.5)
    figure.tight_layout()
    rows = [(trial.name, _after(trial, epoch), *(_value(trial, name) for name in chosen)) for trial in trials]
    return save(figure, file, ("trial", f"{VAL_ERROR} after epoch {epoch}", *chosen), rows)


def weighable(trials: Sequence[TrialRecord], epoch: int) -> bool:
    """Whether there are trials enough, and different ones, to weigh their parameters by the error after that epoch."""
    return len(trials) >= WEIGHED and bool(varied(trials)) and len({_after(trial, epoch) for trial in trials}) > 1


def _study(trials: Sequence[TrialRecord], epoch: int) -> optuna.Study:
    study, space = optuna.create_study(), varied(trials)
    for trial in trials:
        params = {name: _value(trial, name) for name in space}
        told = create_trial(state=TrialState.COMPLETE, value=_after(trial, epoch), params=params, distributions=space)
        study.add_trial(told)
    return study


def _importances(study: optuna.Study) -> dict[str, float]:
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    if any(isinstance(value, str | bool | list) for value in values):
        return CategoricalDistribution(sorted({_plain(value) for value in values}, key=str))
    low, high = float(min(values)), float(max(values))
    return FloatDistribution(low, high, log=low > 0 and high / low > LOG_FROM)


def _after(trial: TrialRecord, epoch: int) -> float:
    return dict(trial.histories[VAL_ERROR])[epoch]


def _last(trial: TrialRecord) -> float:
    return trial.metrics[VAL_ERROR]


def _value(trial: TrialRecord, name: str) -> Any:
    return _plain(trial.config.model_dump(mode="json")[name])


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, list) else value
