"""Pictures of convolution kernels."""

import numpy as np

PIXEL = 12
"""Screen pixels a kernel weight, enlarged without smoothing."""


def kernel_grid(kernels: np.ndarray) -> np.ndarray:
    """First-layer kernels (N, 3, 3, 3) as one RGB picture (H, W, 3) uint8, in rows of eight.

    All kernels share one scale, symmetric about grey: a kernel that has died looks grey, not loud.
    """
    count = len(kernels)
    scale = float(np.abs(kernels).max()) or 1.0
    rgb = np.rint(127.5 * (1 + kernels / scale)).astype(np.uint8).transpose(0, 2, 3, 1)
    tiles = rgb.repeat(PIXEL, axis=1).repeat(PIXEL, axis=2)
    tiles = np.pad(tiles, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)
    columns = min(count, 8)
    tiles = np.pad(tiles, ((0, -count % columns), (0, 0), (0, 0), (0, 0)), constant_values=255)
    rows = [np.concatenate(list(tiles[i : i + columns]), axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows, axis=0)
