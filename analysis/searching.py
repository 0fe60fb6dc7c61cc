"""A search as a whole: what it found, its learning curves under ASHA and its progress."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from analysis.intervals import as_text
from analysis.page import Grid, Picture, Section, Text
from analysis.parameters import draw_importances, draw_parallel, draw_slices, varied, weighable
from analysis.record import REFERENCE, VAL_ERROR, WINNER_METRIC, TrialRecord, best_of
from analysis.replicates import Replicates
from analysis.style import COLORS, save
from trainable.search_space import Scheduler

rungs = Scheduler().rungs
grace = lambda epochs: rungs(epochs)[0]  # noqa: E731
SHARED = ("data", "protocol", "batch_norm")
"""Fields that all configs of a search share."""
BASE = ("data", "network", "channels", "hidden", "activation", "loss", "epochs", "precision")
"""Fields that a search never varies: trials that differ in one are not of the same search."""


def search_section(trials: Sequence[TrialRecord], published: Replicates | None, folder: Path) -> Section:
    """What a search found, beside the report's own batch-norm config, and the pictures of its trials."""
    section = Section("The search for the best batch-norm configuration")
    if not trials:
        section.blocks.append(Text("Missing: no trial of a search is recorded."))
        return section
    best = best_of(trials)
    if best:
        read = best.metrics.get(WINNER_METRIC)
        section.findings.append(
            f"The search's best batch-norm config, {best.name}: validation error {best.metrics[VAL_ERROR]:.4f}, "
            + (f"test error, read once, {read:.4f}." if read is not None else "test error not read yet.")
        )
    section.blocks += [
        Grid(("", ""), facts(trials, published)),
        Picture(draw_learning_curves(trials, folder / "search-curves.png"), "Learning curves under ASHA."),
        Picture(draw_best_so_far(trials, folder / "search-best.png"), "Best so far by training time."),
    ]
    if not varied(trials):
        section.blocks.append(Text("Missing: the trials do not differ, so there are no parameters to compare."))
        return section
    slices = draw_slices(trials, summary_of(trials), folder / "search-slices.png")
    section.blocks.append(Picture(slices, "Validation error by each parameter."))
    epoch = grace(trials[0].config.epochs)
    reached = [trial for trial in trials if len(trial.histories[VAL_ERROR]) >= epoch]
    if not weighable(reached, epoch):
        section.blocks.append(Text("Missing: too few different trials to weigh the parameters."))
        return section
    what = f"{summary_of(reached)}, error after epoch {epoch}"
    where = f"after epoch {epoch}, ASHA's first rung, which every trial reaches: of those that go on it chose"
    section.blocks += [
        Picture(
            draw_importances(reached, epoch, what, folder / "search-importance.png"),
            f"Importance (fANOVA) for the error {where}.",
        ),
        Picture(
            draw_parallel(reached, epoch, what, folder / "search-parallel.png"),
            f"Parallel coordinates of the error {where}.",
        ),
    ]
    return section


def base_of(trial: TrialRecord) -> tuple:
    """What all trials of one search have in common."""
    return trial.tags.get("data_fingerprint"), *(getattr(trial.config, name) for name in BASE)


def summary_of(trials: Sequence[TrialRecord]) -> str:
    """What the pictures of these trials are made of."""
    config = trials[0].config
    seeds = listed(sorted({seed for trial in trials for seed in trial.seeds}))
    return f"{len(trials)} trials on {config.data}, {config.epochs} epochs, seed {seeds}"


def facts(trials: Sequence[TrialRecord], published: Replicates | None) -> list[tuple[str, str]]:
    """What a search spent and found, beside the report's own batch-norm config where that is recorded."""
    complete = sum(trial.complete for trial in trials)
    hours = sum(seconds for trial in trials for _, seconds in trial.histories.get("epoch_s", [])) / 3600
    rows = [
        (
            "protocol",
            "B: a tenth of the train split is held out, its error after the last epoch decides; the test split is read "
            "once, for the winner",
        ),
        ("trials", f"{len(trials)}: {complete} ran to their last epoch, {len(trials) - complete} stopped by ASHA"),
        ("training", f"{sum(len(trial.histories[VAL_ERROR]) for trial in trials)} epochs, {hours:.2f} slot hours"),
    ]
    space = {name: values for name, values in varied(trials).items() if name not in SHARED}
    rows.append(("tried", "; ".join(f"{name} {_tried(values)}" for name, values in space.items()) or "one config"))
    best = best_of(trials)
    if best is None:
        return [*rows, ("best config", "missing: no trial has run to its last epoch")]
    found = {name: value for name, value in best.config.canonical().items() if name not in SHARED}
    read = best.metrics.get(WINNER_METRIC)
    rows += [
        ("best config", f"{best.name}: " + ", ".join(f"{n} {_short(v)}" for n, v in found.items())),
        ("its validation error", f"{best.metrics[VAL_ERROR]:.4f}, seed {listed(best.seeds)}; the lowest of "
         f"{complete}, hence optimistic"),
        ("its test error, read once", f"{read:.4f}" if read is not None else "missing: not read yet"),
    ]  # fmt: skip
    if earlier := [trial for trial in trials if WINNER_METRIC in trial.metrics and trial is not best]:
        read_before = ", ".join(f"{trial.name} {trial.metrics[WINNER_METRIC]:.4f}" for trial in earlier)
        rows.append(("test errors of earlier winners, of fewer trials", read_before))
    if start := next((trial for trial in trials if REFERENCE in trial.tags), None):
        epoch, error = start.histories[VAL_ERROR][-1]
        how = "its last" if start.complete else f"epoch {epoch}, where ASHA stopped it"
        rows.append(("the report's batch-norm config, here", f"{start.name}: validation error {error:.4f} after {how}"))
    if published:
        errors = [series[-1][1] for series in published.by_seed("test_error").values()]
        rows.append(
            (
                "the report's batch-norm config, in table 7",
                f"test error after the last epoch {as_text(errors)}, seeds {listed(published.seeds)}, trained on the "
                "whole train split",
            )
        )
    return rows


def draw_learning_curves(trials: Sequence[TrialRecord], file: Path) -> Path:
    """Validation error by epoch; a cross where the scheduler stopped a trial, a dot where one ran to its end."""
    figure, axis = pyplot.subplots(figsize=(8, 4), layout="constrained")
    rows = []
    for trial in trials:
        series = trial.histories.get(VAL_ERROR, [])
        if not series:
            continue
        epochs, errors = zip(*series, strict=True)
        color, mark = (COLORS[1], "o") if trial.complete else (COLORS[2], "x")
        axis.plot(epochs, errors, color=color, linewidth=0.9, alpha=0.7)
        axis.plot(epochs[-1], errors[-1], mark, color=color, markersize=5)
        rows += [(trial.name, epoch, error, trial.complete) for epoch, error in series]
    for epoch in rungs(trials[0].config.epochs):
        axis.axvline(epoch, color="grey", linestyle=":", linewidth=1)
    axis.plot([], [], "o-", color=COLORS[1], label="ran to its last epoch")
    axis.plot([], [], "x-", color=COLORS[2], label="stopped by ASHA, whose rungs are dotted")
    axis.set(xlabel="epoch", ylabel="validation error", ylim=(0, None))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    axis.set_title(summary_of(trials), fontsize=10)
    return save(figure, file, ("trial", "epoch", VAL_ERROR, "complete"), rows)


def draw_best_so_far(trials: Sequence[TrialRecord], file: Path) -> Path:
    """The best validation error of the trials that ran to their end, by the training time that the search had spent."""
    spent, best, points = 0.0, float("inf"), []
    for trial in trials:
        spent += sum(seconds for _, seconds in trial.histories.get("epoch_s", []))
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
    axis.set_title(summary_of(trials), fontsize=10)
    axis.grid(alpha=0.3)
    return save(figure, file, ("trial", "training_s", "best_val_error"), points)


def _tried(values: BaseDistribution) -> str:
    if isinstance(values, CategoricalDistribution):
        return ", ".join(map(str, values.choices))
    assert isinstance(values, FloatDistribution)
    return f"{_short(values.low)} to {_short(values.high)}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def listed(values: Sequence[int]) -> str:
    """Numbers in a row of text."""
    return ", ".join(map(str, values))
