"""Pictures of loss surfaces: the loss over a plane through the trained weights (Li et al. 2018, arXiv 1712.09913)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator

from analysis.plots.style import line_style, save
from analysis.record.arrays import LossSurface

HEADER = ("network", "alpha", "beta", "loss", "error")


def draw_surfaces(surfaces: Mapping[str, LossSurface], data: str, stem: Path) -> list[Path]:
    """Two pictures of the networks on the same axes: the loss along the first direction, and the loss over the plane as
    contours and in 3-D. Returns their files, whose names are `stem` and `-1d` or `-2d`.

    The networks share one logarithmic scale of the loss. `data` says what the loss was computed on.
    """
    rows = [
        (name, float(alpha), float(beta), float(each.loss[i, j]), float(each.error[i, j]))
        for name, each in surfaces.items()
        for i, beta in enumerate(each.betas)
        for j, alpha in enumerate(each.alphas)
    ]
    losses = np.concatenate([each.loss.ravel() for each in surfaces.values()])
    lowest = max(losses.min(), 1e-4)
    levels = np.geomspace(lowest, max(losses.max(), 1.01 * lowest), 16)  # a dead network's loss is the same everywhere
    return [
        _draw_lines(surfaces, data, stem.with_name(f"{stem.name}-1d.png")),
        _draw_plane(surfaces, data, levels, stem.with_name(f"{stem.name}-2d.png"), rows),
    ]


def _draw_lines(surfaces: Mapping[str, LossSurface], data: str, file: Path) -> Path:
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    rows = []
    for index, (name, each) in enumerate(surfaces.items()):
        for axis, values in zip(axes, (each.loss_along, each.error_along), strict=True):
            axis.plot(each.alphas, values, label=name, **line_style(index))
        rows += [
            (name, float(a), 0.0, float(loss), float(error))
            for a, loss, error in zip(each.alphas, each.loss_along, each.error_along, strict=True)
        ]
    axes[0].set(yscale="log", ylabel="loss")
    axes[1].set(ylabel="error", ylim=(0, 1))
    for axis in axes:
        axis.set_xlabel("distance along the first direction, filter norms")
        axis.xaxis.set_major_locator(MultipleLocator(0.5))
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8)
    figure.suptitle(f"Loss and error around the trained weights, {data}", fontsize=10)
    return save(figure, file, HEADER, rows)


def _draw_plane(surfaces: Mapping[str, LossSurface], data: str, levels: np.ndarray, file: Path, rows: list) -> Path:
    """The contours of each network, and its surface in 3-D below."""
    count = len(surfaces)
    figure = pyplot.figure(figsize=(1 + 4.5 * count, 8.6), layout="constrained")
    low, high = np.log10(levels[0]), np.log10(levels[-1])
    for column, (name, each) in enumerate(surfaces.items(), start=1):
        loss = np.clip(each.loss, levels[0], levels[-1])
        flat = figure.add_subplot(2, count, column)
        filled = flat.contourf(each.alphas, each.betas, loss, levels, cmap="viridis", norm="log")
        lines = flat.contour(each.alphas, each.betas, loss, levels[::2], colors="white", linewidths=0.7)
        for label in flat.clabel(lines, fontsize=8, fmt="%.2g", colors="black"):
            label.set_path_effects([withStroke(linewidth=2, foreground="white")])
        flat.plot(0, 0, "x", color="white")
        flat.set(title=name, xlabel="first direction, filter norms", aspect="equal")
        flat.xaxis.set_major_locator(MultipleLocator(0.5))
        flat.yaxis.set_major_locator(MultipleLocator(0.5))
        if column == 1:
            flat.set_ylabel("second direction, filter norms")
        if column == count:
            bar = figure.colorbar(filled, label="loss, logarithmic", format="%.2g", ticks=levels[::3])
            bar.ax.minorticks_off()
        solid = figure.add_subplot(2, count, count + column, projection="3d")
        solid.plot_surface(*np.meshgrid(each.alphas, each.betas), np.log10(loss), cmap="viridis", vmin=low, vmax=high)
        solid.set(
            title=name, xlabel="first direction", ylabel="second direction", zlabel="log10 loss", zlim=(low, high)
        )
    figure.suptitle(f"Loss over the plane, {data};\nthe cross marks the trained weights", fontsize=10)
    return save(figure, file, HEADER, rows)
