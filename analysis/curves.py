"""Error by epoch, one line a row of a table: the report's figures 1 to 8."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from analysis.replicates import Replicates
from analysis.style import line_style, save
from analysis.tables import HELD_OUT
from trainable.study import PlacedTable

HEADER = ("table", "row", "metric", "epoch", "mean", "minimum", "maximum", "seeds")


def limits(tables: Sequence[PlacedTable], found: Mapping[str, Replicates]) -> tuple[float, float]:
    """The range of all errors of the tables, so that their figures share one axis."""
    tops = [
        found[row.key].curves(metric).max() for table in tables for row in table.rows for metric in _metrics(table)
        if row.key in found
    ]  # fmt: skip
    return 0.0, 1.05 * max(tops, default=1.0)


def draw_curves(table: PlacedTable, found: Mapping[str, Replicates], file: Path, y_limits: tuple[float, float]) -> Path:
    """Train and held-out error of each row: the seeds' mean, and a band from their minimum to their maximum."""
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    rows = []
    for axis, (metric, label) in zip(axes, _metrics(table).items(), strict=True):
        for place, row in enumerate(table.rows):
            if row.key not in found:
                axis.plot([], [], label=f"{row.name} (missing)", **line_style(place))
                continue
            curves = found[row.key].curves(metric)
            low, mean, high = curves.min(0), curves.mean(0), curves.max(0)
            epochs = range(1, len(mean) + 1)
            axis.plot(epochs, mean, marker="o" if len(mean) == 1 else None, label=row.name, **line_style(place))
            axis.fill_between(epochs, low, high, color=line_style(place)["color"], alpha=0.15, linewidth=0)
            rows += [
                (table.number, row.name, metric, epoch, float(m), float(a), float(b), len(curves))
                for epoch, m, a, b in zip(epochs, mean, low, high, strict=True)
            ]
        axis.set(xlabel="epoch", ylabel=label, ylim=y_limits)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    seeds = sorted({len(found[row.key].seeds) for row in table.rows if row.key in found})
    figure.suptitle(f"{table.title}: {table.rows[0].config.data}, {_counted(seeds)}, mean and range", fontsize=10)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", title=table.varies, fontsize=8)
    return save(figure, file, HEADER, rows)


def _metrics(table: PlacedTable) -> dict[str, str]:
    held_out = table.rows[0].config.held_out
    return {"train_error": "train error", held_out: HELD_OUT[held_out]}


def _counted(seeds: Sequence[int]) -> str:
    if not seeds:
        return "missing"
    if seeds == [1]:
        return "1 seed"
    return f"{seeds[0]} seeds" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
