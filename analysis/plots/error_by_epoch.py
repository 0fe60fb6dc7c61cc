"""The picture of a table's errors by epoch, a line for each row: the course report's figures 1 to 8."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import pyplot

from analysis.plots.style import line_style, save
from analysis.record.replicates import Replicates
from analysis.tables import HELD_OUT, ReproducedTable
from trainable.study import Reported, ResolvedTable

HEADER = ("table", "row", "metric", "epoch", "mean", "minimum", "maximum", "seeds")


def shared_limits(tables: Sequence[ReproducedTable], trainings: Mapping[str, Replicates]) -> tuple[float, float]:
    """The lower and the upper end of an axis that holds all train errors of the tables, so that their figures share
    it."""
    tops = [
        trainings[row.key].curves("train_error").max() for each in tables for row in each.rows if row.key in trainings
    ]
    return 0.0, 1.05 * max(tops, default=1.0)


def draw_curves(
    reproduced: ReproducedTable, trainings: Mapping[str, Replicates], file: Path, train_limits: tuple[float, float]
) -> Path:
    """The train error and the held-out error of each row: the seeds' mean, a band from the lowest to the highest seed,
    and a hollow diamond at the printed minimum. The axis of the held-out error fits the table, because held-out errors
    lie close together."""
    table = reproduced.table
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    rows = []
    for axis, (metric, label) in zip(axes, _metrics(table).items(), strict=True):
        for index, row in enumerate(reproduced.rows):
            style = line_style(index)
            if row.key not in trainings:
                axis.plot([], [], label=f"{row.name} (missing)", **style)
                continue
            curves = trainings[row.key].curves(metric)
            low, mean, high = curves.min(0), curves.mean(0), curves.max(0)
            epochs = range(1, len(mean) + 1)
            axis.plot(epochs, mean, label=f"{row.name} ({len(curves)})", **style)
            axis.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)
            if row.reported:
                axis.plot(*_minimum(row.reported, metric), "D", fillstyle="none", color=style["color"], markersize=6)
            rows += [
                (table.number, row.name, metric, epoch, float(m), float(a), float(b), len(curves))
                for epoch, m, a, b in zip(epochs, mean, low, high, strict=True)
            ]
        axis.set(xlabel="epoch", ylabel=label)
        axis.set_xticks(_ticks(max(row.config.epochs for row in table.rows)))
        axis.grid(alpha=0.3)
    axes[0].set_ylim(train_limits)
    if reproduced.comparable:
        axes[0].plot([], [], "D", fillstyle="none", color="grey", markersize=6, label="reported minimum")
    figure.suptitle(f"{table.title}: {reproduced.data}, the seeds' mean and range", fontsize=10)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside right center", title=f"{table.varies}\n(seeds)", fontsize=8,
        title_fontsize=8,
    )  # fmt: skip
    return save(figure, file, HEADER, rows)


def _metrics(table: ResolvedTable) -> dict[str, str]:
    held_out = table.rows[0].config.held_out
    return {"train_error": "train error", held_out: HELD_OUT[held_out]}


def _minimum(reported: Reported, metric: str) -> tuple[int, float]:
    """The epoch and the value of the printed minimum."""
    if metric == "train_error":
        return reported.train_epoch, reported.train_error
    return reported.test_epoch, reported.test_error


def _ticks(epochs: int) -> list[int]:
    """The epochs that the axis labels: the first, the last and some between."""
    step = max(1, round(epochs / 4))
    return sorted({1, *range(step, epochs - step // 2, step), epochs})
