"""What the files of a finished training are called, and the arrays in them. The record keeps these files."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

WEIGHTS = "weights.safetensors"
"""Every seed's parameters and buffers after the last epoch, as `seed_0/conv1.weight`."""
SERVED_SEED = 0
"""The seed of a search's winner whose weights are its registered model."""
TRACES = "traces.safetensors"
"""What pictures of a training are made from: the arrays whose names begin with the next four."""
STEP_LOSSES = "step_losses/"
"""The loss of each mini-batch (steps,), by seed: `step_losses/seed_0`."""
PROBES = "probes/"
"""Measurements along the gradient (probes, step sizes, 3), by seed; where the training was probed (see
`trainable.probes`)."""
EPOCH_KERNELS = "kernels/epoch_"
"""The first seed's first-layer kernels (outputs, 3, 3, 3): before the training, `kernels/epoch_0`, and after each
epoch."""
TRAINED = "trained/"
"""The first seed's first two convolutions and first batch norm after the training: `trained/conv1.weight`."""
CORRECT = "correct.safetensors"
"""Which held-out images each seed's network classifies correctly after the last epoch: packed bits, as `seed_0`."""
PREDICTIONS = "predictions.safetensors"
"""What each seed's network says of the held-out images after the last epoch, in the split's order: `seed_0/classes`
uint8 (N,) and the probability of that class, `seed_0/confidences` float16 (N,); the same with test-time flips,
`seed_0/flipped_classes` and `seed_0/flipped_confidences`; and the true `labels` uint8 (N,)."""
SURFACE = "surface.safetensors"
"""The loss surface of a trial, where it was computed: the axes `alphas` and `betas`, `loss` and `error` with one row
for each beta and one column for each alpha, and `images`, the number of images that they are averaged over."""


def format_seeds(seeds: tuple[int, ...]) -> str:
    """A short name for ascending seeds: that of (0, 1, 2, 5) is `0to2_5`."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return "_".join(f"{run[0]}to{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def seed_name(seed: int) -> str:
    """The name of a seed in the names of arrays."""
    return f"seed_{seed}"


def entries_under(prefix: str, named: Mapping[str, T]) -> dict[str, T]:
    """The entries whose names start with the prefix, which is removed from their names."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
