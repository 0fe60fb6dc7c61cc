"""The loss surface around trained weights, along filter-normalised random directions.

The method is that of Li et al. 2018 (arXiv 1712.09913), section 4.

Two directions span a plane through the weights. The loss over this plane shows how sharp the minimum is. Filter
normalisation makes the surfaces of different networks comparable; with the same seed they use the same random draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Dataset, check_same
from trainable.device import prepare_torch
from trainable.model import build
from trainable.optim import make_loss

Weights = Mapping[str, np.ndarray]
"""Arrays of a network by name: its parameters and, unless said otherwise, its buffers."""


def directions(weights: Weights, seed: int, count: int = 2) -> list[dict[str, np.ndarray]]:
    """Random directions for these parameters, in which each filter has the norm of the weights' filter (section 4,
    equation 1).

    A filter is the kernel of one output channel of a convolution or one row of a linear layer's matrix. Directions are
    zero for biases and for batch norm's parameters.
    """
    generator = np.random.default_rng(seed)
    return [
        {
            name: _random_filters(generator, array) if array.ndim > 1 else np.zeros_like(array)
            for name, array in weights.items()
        }
        for _ in range(count)
    ]


def moved(weights: Weights, along: Sequence[Weights], by: Sequence[float]) -> dict[str, np.ndarray]:
    """A copy of the weights, moved along each direction by its distance. Distances are in filter norms. A direction may
    leave out arrays that do not move."""
    point = {name: array.copy() for name, array in weights.items()}
    for direction, distance in zip(along, by, strict=True):
        for name, step in direction.items():
            point[name] += distance * step
    return point


class Evaluator:
    """Computes the loss of one network with any weights, over a fixed and evenly spaced subset of the train split.

    `images` is the size of the subset. The network runs in single precision. Raises `DeviceError` for a GPU that torch
    cannot use, and `DataError` for other data than the config names.
    """

    def __init__(self, config: Config, data: Dataset, images: int, device: str | torch.device = "cpu") -> None:
        check_same(config, data)
        device = prepare_torch(device)
        split = data.splits(config.protocol)["train"]
        evenly_spaced = np.linspace(0, len(split) - 1, min(images, len(split))).astype(np.int64)
        self.images = len(evenly_spaced)
        """Images in the subset."""
        self._batches = list(Batches(replace(split, index=split.index[evenly_spaced]), config, device).in_order())
        self._model = build(config).to(device).eval()
        self._loss = make_loss(config)

    def parameters_of(self, weights: Weights) -> dict[str, np.ndarray]:
        """Those of the network's weights that are parameters."""
        names = {name for name, _ in self._model.named_parameters(remove_duplicate=False)}
        return {name: array for name, array in weights.items() if name in names}

    @torch.inference_mode()
    def loss_and_error(self, weights: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """The mean loss and the error rate of these weights in evaluation mode."""
        self._model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        loss, wrong, count = 0.0, 0, 0
        for images_nchw, labels_n in self._batches:
            scores_nk = self._model(images_nchw)
            loss += float(self._loss(scores_nk, labels_n).sum())
            wrong += int((scores_nk.argmax(1) != labels_n).sum())
            count += len(labels_n)
        return loss / count, wrong / count


def _random_filters(generator: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """Normally distributed filters, scaled to the norms of the layer's filters."""
    drawn = generator.standard_normal(weights.shape)
    axes = tuple(range(1, weights.ndim))
    norms, drawn_norms = (np.sqrt((filters**2).sum(axis=axes, keepdims=True)) for filters in (weights, drawn))
    return (drawn * norms / drawn_norms).astype(weights.dtype)
