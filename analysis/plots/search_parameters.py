"""Pictures of what a search's parameters do to the error. Optuna weighs the parameters, and draws where its picture
serves."""

import warnings
from collections.abc import Callable
from pathlib import Path

import optuna
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial
from scipy import stats

from analysis.plots.style import COLORS, save
from analysis.record.recorded import VAL_ERROR, TrialRecord
from analysis.searches import RecordedSearch, val_errors

LEAST_TRIALS = 15
"""With fewer trials the parameters are not weighed: one trial would decide."""
BEST_SHARE, LEAST_BEST = 0.1, 5
"""The share of the trials that count as the best ones, and the fewest that do."""
COLUMNS = 5
PARALLEL_AXES = 6
"""The parallel coordinates show so many parameters at most."""


def draw_slices(recorded: RecordedSearch, file: Path) -> Path:
    """The validation error by each parameter in which the trials differ, over the parameter's whole space: a dot for a
    trial that ran to its last epoch, a cross for one that the scheduler stopped, at its last error."""
    space = recorded.varied
    trials = [trial for trial in recorded.own if val_errors(trial)]
    lines = -(-len(space) // COLUMNS)
    figure, axes = pyplot.subplots(lines, COLUMNS, figsize=(12, 2.6 * lines), sharey=True, layout="constrained",
                                   squeeze=False)  # fmt: skip
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


def draw_importances(recorded: RecordedSearch, file: Path) -> Path:
    """How much each parameter matters to whether a trial is among the best at the first rung (see `by_importance`)."""
    shares = _importances(_study_at_first_rung(recorded))
    figure, axis = pyplot.subplots(figsize=(8, 0.9 + 0.3 * len(shares)), layout="constrained")
    axis.barh(list(shares), list(shares.values()), color=COLORS[1])
    axis.invert_yaxis()
    axis.set(xlabel=f"importance for being among the best after epoch {recorded.first_rung}", xlim=(0, 1))
    axis.set_title(_title(recorded), fontsize=10)
    return save(figure, file, ("parameter", "importance"), shares.items())


def draw_parallel(recorded: RecordedSearch, file: Path) -> Path:
    """Each trial as a line from its rank by the error at the first rung, 1 for the lowest, through its values of the
    most important parameters that every trial has, by Optuna."""
    study, epoch = _study_at_first_rung(recorded), recorded.first_rung
    shared = set.intersection(*(set(trial.params) for trial in study.trials))
    chosen = [name for name in _importances(study) if name in shared][:PARALLEL_AXES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its matplotlib plots experimental
        axis = optuna.visualization.matplotlib.plot_parallel_coordinate(
            study, params=chosen, target_name=f"rank after epoch {epoch}"
        )
    axis.set_title(_title(recorded), fontsize=10)
    figure = axis.get_figure(root=True)
    assert figure is not None
    for label in (label for each in figure.axes for label in each.get_yticklabels()):
        label.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1})  # lines cross the labels
    figure.set_size_inches(12, 4.5)
    figure.tight_layout()
    rows = [
        (trial.name, _error_at(trial, epoch), *(recorded.value(trial, name) for name in chosen))
        for trial in recorded.at_first_rung
    ]
    return save(figure, file, ("trial", f"{VAL_ERROR} after epoch {epoch}", *chosen), rows)


def can_weigh_parameters(recorded: RecordedSearch) -> bool:
    """Whether enough trials reached the first rung, with different parameters and different errors."""
    trials, epoch = recorded.at_first_rung, recorded.first_rung
    differ = any(len({recorded.value(trial, name) for trial in trials}) > 1 for name in recorded.varied)
    return len(trials) >= LEAST_TRIALS and differ and len({_error_at(trial, epoch) for trial in trials}) > 1


def by_importance(recorded: RecordedSearch) -> list[str]:
    """The parameters in which the trials differ, the most important first; in the space's order where they cannot be
    weighed.

    The weights are those of PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), as Optuna has it: how far a parameter's
    values in the best trials differ from those in all. They sum to 1. Only the order of the errors counts, so that a
    trial which failed to learn does not outweigh the rest, and parameters with conditions are weighed, too.
    """
    if not can_weigh_parameters(recorded):
        return list(recorded.varied)
    return list(_importances(_study_at_first_rung(recorded)))


def _scale(axis: Axes, distribution: BaseDistribution) -> Callable:
    """Give the axis the parameter's bounds and scale; returns where on it a value stands."""
    if isinstance(distribution, CategoricalDistribution):
        axis.set_xticks(range(len(distribution.choices)), [str(choice) for choice in distribution.choices])
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


def _study_at_first_rung(recorded: RecordedSearch) -> optuna.Study:
    """The trials with their ranks by the error at the first rung."""
    study, space, trials = optuna.create_study(), recorded.varied, recorded.at_first_rung
    ranks = stats.rankdata([_error_at(trial, recorded.first_rung) for trial in trials])
    for trial, rank in zip(trials, ranks.tolist(), strict=True):
        params = {name: value for name in space if (value := recorded.value(trial, name)) is not None}
        distributions = {name: space[name] for name in params}
        told = create_trial(state=TrialState.COMPLETE, value=rank, params=params, distributions=distributions)
        study.add_trial(told)
    return study


def _importances(study: optuna.Study) -> dict[str, float]:
    best = min(0.5, max(BEST_SHARE, LEAST_BEST / len(study.trials)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is experimental, and warns of values that few trials have
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=best))
    return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))  # Optuna orders equals by chance


def _title(recorded: RecordedSearch) -> str:
    return f"{recorded.description}: {len(recorded.at_first_rung)} at the first rung, epoch {recorded.first_rung}"


def _error_at(trial: TrialRecord, epoch: int) -> float:
    return dict(val_errors(trial))[epoch]


def _last(trial: TrialRecord) -> float:
    return val_errors(trial)[-1][1]
