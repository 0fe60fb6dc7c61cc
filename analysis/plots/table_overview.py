"""The overview picture: every row of every table, ours and the printed error."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.ticker import LogLocator, NullLocator

from analysis.plots.style import COLORS, save
from analysis.tables import ReproducedTable, held_out_name

LEAST = 1e-3
"""The logarithmic axis begins here at the lowest."""


def draw_tables(tables: Sequence[ReproducedTable], file: Path) -> Path:
    """A panel for each table: the mean held-out error of each row as a dot with its 95% interval, each seed's, and the
    printed error as a hollow diamond where it may be compared."""
    heights = [len(table.rows) for table in tables]
    figure, axes = pyplot.subplots(
        len(tables), 1, sharex=True, figsize=(8, 0.8 + 0.3 * sum(heights) + 0.62 * len(tables)), squeeze=False,
        gridspec_kw={"height_ratios": heights}, layout="constrained",
    )  # fmt: skip
    for axis, table in zip(axes[:, 0], tables, strict=True):
        for index, row in enumerate(table.rows):
            if row.held_out is not None:
                half = row.held_out.half_width or 0.0
                axis.errorbar(row.held_out.mean, index, xerr=half, fmt="o", color=COLORS[1], capsize=3,
                              label="mean and its 95% interval")  # fmt: skip
                axis.plot(row.held_out.minima, [index + 0.28] * len(row.seeds), "x", color=COLORS[0], markersize=3.5,
                          label="one seed")  # fmt: skip
                if interval := row.held_out.next_run():
                    axis.hlines(index, *interval, color=COLORS[1], linewidth=0.8, alpha=0.6, zorder=1,
                                label="95% prediction interval of one more run")  # fmt: skip
            if row.reported is not None:
                axis.plot(row.reported.test_error, index, "D", markersize=8, fillstyle="none", color=COLORS[2],
                          label="reported")  # fmt: skip
        axis.set_yticks(range(len(table.rows)), [row.name for row in table.rows])
        axis.set_ylim(len(table.rows) - 0.4, -0.6)
        axis.set_title(table.table.heading, loc="left", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    seeds = max((len(row.seeds) for table in tables for row in table.rows), default=0)
    data = ", ".join(sorted({table.data for table in tables}))
    last = axes[-1, 0]
    last.set_xscale("log", nonpositive="clip")  # most rows lie close together, a few far off
    last.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8)))
    last.xaxis.set_major_formatter("{x:g}")
    dots = [error for table in tables for row in table.rows if (cell := row.held_out) for error in cell.minima]
    dots += [row.reported.test_error for table in tables for row in table.rows if row.reported]
    if dots:
        last.set_xlim(
            0.9 * max(min(dots), LEAST), min(1.0, 1.1 * max(dots))
        )  # a wide interval must not squeeze the rest
    last.xaxis.set_minor_locator(NullLocator())
    error = held_out_name(row.config for table in tables for row in table.table.rows)
    last.set_xlabel(f"{error} on {data} (logarithmic), minimum over the epochs, up to {seeds} seed(s)")
    handles = {
        label: handle for axis in axes[:, 0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=4, fontsize=8, frameon=False)
    rows = [
        (table.table.number, row.name, row.held_out.mean, row.held_out.half_width,
         *(row.held_out.next_run() or (None, None)), row.reported and row.reported.test_error)
        for table in tables for row in table.rows if row.held_out is not None
    ]  # fmt: skip
    header = ("table", "row", "error", "half width", "next run from", "next run to", "reported")
    return save(figure, file, header, rows)
