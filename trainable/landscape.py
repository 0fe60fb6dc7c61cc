"""The loss around trained weights (Li et al. 2018, arXiv 1712.09913, section 4): filter-normalised random directions.

Two directions span a plane through the weights; the loss over it is a picture of how sharp the minimum is. Filter
normalisation makes the pictures of different networks comparable; the same seed gives them the same random draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Dataset
from trainable.model import build, prepare_torch
from trainable.optim import make_loss

Weights = Mapping[str, np.ndarray]


def directions(weights: Weights, seed: int, count: int = 2) -> list[dict[str, np.ndarray]]:
    """Random directions, each filter as long as the weights' own (section 4, equation 1).

    A filter is a convolution kernel of one output channel or a linear layer's row. Biases and batch norm are left out:
    their directions, and those of the running statistics, are zero.
    """
    generator = np.random.default_rng(seed)
    return [
        {name: _normalised(generator, own) if own.ndim > 1 else np.zeros_like(own) for name, own in weights.items()}
        for _ in range(count)
    ]


def moved(weights: Weights, along: Sequence[Weights], by: Sequence[float]) -> dict[str, np.ndarray]:
    """The weights at a point of the plane: theta + sum of distance times direction."""
    point = {name: own.copy() for name, own in weights.items()}
    for direction, distance in zip(along, by, strict=True):
        for name, own in point.items():
            if own.ndim > 1:
                own += distance * direction[name]
    return point


class Evaluator:
    """Losses of one network with other weights, over a fixed, evenly spread part of the train split."""

    def __init__(self, config: Config, data: Dataset, images: int) -> None:
        prepare_torch()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        split = data.splits(config.protocol)["train"]
        spread = np.linspace(0, len(split) - 1, min(images, len(split))).astype(np.int64)
        self.images = len(spread)
        """Over how many images losses are taken."""
        self._batches = list(Batches(replace(split, index=split.index[spread]), config, device).in_order())
        self._model = build(config).to(device).to(memory_format=torch.channels_last).eval()
        self._loss = make_loss(config)

    @torch.inference_mode()
    def loss_and_error(self, weights: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """Mean loss and error rate in evaluation mode."""
        self._model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        loss, wrong, count = 0.0, 0, 0
        for images, labels in self._batches:
            scores = self._model(images)
            loss += float(self._loss(scores, labels).sum())
            wrong += int((scores.argmax(1) != labels).sum())
            count += len(labels)
        return loss / count, wrong / count


def _normalised(generator: np.random.Generator, own: np.ndarray) -> np.ndarray:
    drawn = generator.standard_normal(own.shape)
    axes = tuple(range(1, own.ndim))
    lengths = [np.sqrt((array**2).sum(axis=axes, keepdims=True)) for array in (own, drawn)]
    return (drawn * lengths[0] / lengths[1]).astype(own.dtype)
