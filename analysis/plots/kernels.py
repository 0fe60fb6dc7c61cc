"""Pictures of convolution kernels (the course report's section 1.3.1)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from analysis.plots.style import save

PIXEL = 12
"""Screen pixels for each weight of a kernel, which is enlarged without smoothing."""
COLUMNS = 8
"""Kernels in a row."""


def kernel_grid(kernels: np.ndarray, bound: float) -> np.ndarray:
    """First-layer kernels (N, 3, 3, 3) as one RGB picture (H, W, 3) of uint8, in rows of eight; for the colours see
    `shared_scale`."""
    count = len(kernels)
    rgb = np.rint(255 * shared_scale(kernels, bound)).astype(np.uint8)
    tiles = rgb.repeat(PIXEL, axis=1).repeat(PIXEL, axis=2)
    tiles = np.pad(tiles, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)
    columns = min(count, COLUMNS)
    tiles = np.pad(tiles, ((0, -count % columns), (0, 0), (0, 0), (0, 0)), constant_values=255)
    rows = [np.concatenate(list(tiles[i : i + columns]), axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows, axis=0)


def bound_of(*kernels: np.ndarray) -> float:
    """The largest absolute weight of all: pictures on its scale can be compared."""
    return max(float(np.abs(each).max()) for each in kernels) or 1.0


def shared_scale(kernels: np.ndarray, bound: float) -> np.ndarray:
    """Kernels (N, 3, h, w) as RGB in [0, 1] (N, h, w, 3) on one scale: grey is zero, and full colour is the bound. A
    kernel that has died is grey."""
    return _rgb(kernels / bound)


def own_scale(kernels: np.ndarray) -> np.ndarray:
    """Kernels (N, 3, h, w) as RGB in [0, 1] (N, h, w, 3), each on its own scale: this shows the shape of weak kernels,
    and hides that they are weak."""
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    return _rgb(kernels / np.where(largest, largest, 1.0))


def draw_first_layer(stages: Mapping[str, tuple[np.ndarray, float]], title: str, file: Path) -> Path:
    """The first-layer kernels at each stage of the training, drawn twice: on the stage's scale and each on its own.

    `stages` maps a stage's name to its kernels (N, 3, 3, 3) and the bound of its scale. The norm of each kernel stands
    below it.
    """
    count = len(next(iter(stages.values()))[0])
    lines = -(-count // COLUMNS)
    figure, axes = pyplot.subplots(
        len(stages), 2, figsize=(13, 0.95 * lines * len(stages) + 0.5), layout="constrained", squeeze=False
    )
    figure.suptitle(title, fontsize=10)
    rows = []
    for pair, (stage, (kernels, bound)) in zip(axes, stages.items(), strict=True):
        norms = np.linalg.norm(kernels.reshape(count, -1), axis=1)
        rows += [(stage, *index, float(weight)) for index, weight in np.ndenumerate(kernels)]
        scales = {
            f"one scale: grey is 0, full colour ±{bound:.2f}": shared_scale(kernels, bound),
            "each on its own scale": own_scale(kernels),
        }
        for axis, (scale, images) in zip(pair, scales.items(), strict=True):
            axis.set_title(f"{stage}, {scale}; norms below", fontsize=8)
            axis.set_axis_off()
            axis.imshow(_mosaic(images), interpolation="nearest")
            for index, norm in enumerate(norms):
                line, column = divmod(index, COLUMNS)
                axis.text(4 * column + 1, 4 * line + 3, f"{norm:.2f}", fontsize=7, ha="center", va="center")
    return save(figure, file, ("stage", "filter", "color", "y", "x", "weight"), rows)


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Pictures (N, 3, 3, 3) in rows of eight, a white pixel to the right of each and below it."""
    lines = -(-len(images) // COLUMNS)
    tiles = np.ones((lines * COLUMNS, 4, 4, 3))
    tiles[: len(images), :3, :3] = images
    return tiles.reshape(lines, COLUMNS, 4, 4, 3).transpose(0, 2, 1, 3, 4).reshape(lines * 4, COLUMNS * 4, 3)


def draw_second_layer(weights: np.ndarray, title: str, file: Path) -> Path:
    """Second-layer kernels (outputs, inputs, 3, 3) as a matrix of 3 x 3 pictures on one scale, symmetric about zero."""
    outputs, inputs = weights.shape[:2]
    gap = 1
    padded = np.pad(weights, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    matrix = padded.transpose(0, 2, 1, 3).reshape(outputs * (3 + gap), inputs * (3 + gap))
    bound = bound_of(weights)
    figure, axis = pyplot.subplots(figsize=(1.5 + 0.22 * inputs, 0.6 + 0.2 * outputs), layout="constrained")
    image = axis.imshow(matrix, cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
    axis.set_xticks(np.arange(inputs) * (3 + gap) + 1, map(str, range(inputs)), fontsize=6)
    axis.set_yticks(np.arange(outputs) * (3 + gap) + 1, map(str, range(outputs)), fontsize=6)
    axis.set(xlabel="input channel", ylabel="output channel")
    axis.set_title(title, fontsize=9)
    figure.colorbar(image, label="weight", shrink=0.6)
    rows = [(*index, float(weight)) for index, weight in np.ndenumerate(weights)]
    return save(figure, file, ("output", "input", "y", "x", "weight"), rows)


def _rgb(scaled: np.ndarray) -> np.ndarray:
    return ((1 + scaled) / 2).transpose(0, 2, 3, 1)
