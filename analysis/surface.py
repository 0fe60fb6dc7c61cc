"""Pictures of loss surfaces: the loss over a plane through trained weights (see `trainable.landscape`)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator

from analysis.style import line_style, save

Surface = Mapping[str, np.ndarray]
"""`alphas` (A,), `betas` (B,), `loss` and `error` (B, A), and how many `images` they are over."""
HEADER = ("network", "alpha", "beta", "loss", "error")


def draw_surfaces(surfaces: Mapping[str, Surface], data: str, stem: Path) -> list[Path]:
    """For the networks compared, on the same axes: the loss along the first direction, and over the plane as contours
    and in 3-D.

    Losses are drawn on a logarithmic scale, which the networks share.
    """
    rows = [
        (name, float(alpha), float(beta), float(each["loss"][i, j]), float(each["error"][i, j]))
        for name, each in surfaces.items()
        for i, beta in enumerate(each["betas"])
        for j, alpha in enumerate(each["alphas"])
    ]
    losses = np.concatenate([each["loss"].ravel() for each in surfaces.values()])
    levels = np.geomspace(max(losses.min(), 1e-4), losses.max(), 16)
    return [
        _draw_lines(surfaces, data, stem.with_name(f"{stem.name}-1d.png")),
        _draw_plane(surfaces, data, levels, stem.with_name(f"{stem.name}-2d.png"), rows),
    ]


def _draw_lines(surfaces: Mapping[str, Surface], data: str, file: Path) -> Path:
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    rows = []
    for place, (name, each) in enumerate(surfaces.items()):
        middle = len(each["betas"]) // 2
        for axis, measure in zip(axes, ("loss", "error"), strict=True):
            axis.plot(each["alphas"], each[measure][middle], label=name, **line_style(place))
        rows += [
            (name, float(a), 0.0, float(loss), float(error))
            for a, loss, error in zip(each["alphas"], each["loss"][middle], each["error"][middle], strict=True)
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


def _draw_plane(surfaces: Mapping[str, Surface], data: str, levels: np.ndarray, file: Path, rows: list) -> Path:
    """Contours above, the same in 3-D below."""
    count = len(surfaces)
    figure = pyplot.figure(figsize=(1 + 4.5 * count, 8.6), layout="constrained")
    low, high = np.log10(levels[0]), np.log10(levels[-1])
    for place, (name, each) in enumerate(surfaces.items(), start=1):
        loss = np.clip(each["loss"], levels[0], levels[-1])
        flat = figure.add_subplot(2, count, place)
        filled = flat.contourf(each["alphas"], each["betas"], loss, levels, cmap="viridis", norm="log")
        lines = flat.contour(each["alphas"], each["betas"], loss, levels[::2], colors="white", linewidths=0.7)
        for label in flat.clabel(lines, fontsize=8, fmt="%.2g", colors="black"):
            label.set_path_effects([withStroke(linewidth=2, foreground="white")])
        flat.plot(0, 0, "x", color="white")
        flat.set(title=name, xlabel="first direction, filter norms", aspect="equal")
        flat.xaxis.set_major_locator(MultipleLocator(0.5))
        flat.yaxis.set_major_locator(MultipleLocator(0.5))
        if place == 1:
            flat.set_ylabel("second direction, filter norms")
        if place == count:
            bar = figure.colorbar(filled, label="loss, logarithmic", format="%.2g", ticks=levels[::3])
            bar.ax.minorticks_off()
        solid = figure.add_subplot(2, count, count + place, projection="3d")
        solid.plot_surface(
            *np.meshgrid(each["alphas"], each["betas"]), np.log10(loss), cmap="viridis", vmin=low, vmax=high
        )
        solid.set(
            title=name, xlabel="first direction", ylabel="second direction", zlabel="log10 loss", zlim=(low, high)
        )
    figure.suptitle(f"Loss over the plane, {data};\nthe cross marks the trained weights", fontsize=10)
    return save(figure, file, HEADER, rows)
