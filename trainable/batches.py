"""Batches of a split: gathered as uint8 on the training's device, augmented and normalised there."""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from trainable.architecture import IMAGE_SIZE
from trainable.config import Config
from trainable.data import Split

EVALUATION_BATCH = 256
"""Images a batch in evaluation: a larger one leaves the processor's cache and is slower (measured: 128 to 2,000)."""


class Batches:
    """A split on a device. Images come out as float (N, 3, 32, 32) in [-1, 1], channels last; labels as int64."""

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        self._images = torch.from_numpy(split.images).to(device)
        self._labels = torch.from_numpy(split.labels).to(device)
        self._index = torch.from_numpy(split.index).to(device)
        self._batch_size, self._flip, self._shift = config.batch_size, config.flip, config.shift
        self.size = len(split)

    def count(self, batch_size: int) -> int:
        """Steps an epoch; the last partial batch is kept."""
        return -(-self.size // batch_size)

    def shuffled(self, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch's training batches: the order is the generator's first draw, then the augmentation's draws."""
        order = torch.randperm(self.size, generator=generator).to(self._index.device)
        for rows in self._index[order].split(self._batch_size):
            yield normalise(self._augment(rows, generator)), self._labels[rows].long()

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole split once, not augmented, for evaluation."""
        for rows in self._index.split(EVALUATION_BATCH):
            yield normalise(self._images[rows]), self._labels[rows].long()

    def _augment(self, rows: Tensor, generator: Generator) -> Tensor:
        """The rows' images (N, 32, 32, 3) uint8, mirrored and shifted (edges reflected) by one gather of pixels."""
        if not (self._flip or self._shift):
            return self._images[rows]
        count, pixels = len(rows), torch.arange(IMAGE_SIZE)
        down, right = torch.randint(-self._shift, self._shift + 1, (2, count, 1), generator=generator)
        mirrored = torch.randint(2 if self._flip else 1, (count, 1), generator=generator).bool()
        y, x = (self._reflect(pixels + offset).to(rows.device) for offset in (down, right))
        x = torch.where(mirrored.to(rows.device), x.flip(1), x)
        return self._images[rows[:, None, None], y[:, :, None], x[:, None, :]]

    @staticmethod
    def _reflect(position: Tensor) -> Tensor:
        last = IMAGE_SIZE - 1
        return last - (last - position.abs()).abs()


def normalise(images_nhwc: Tensor) -> Tensor:
    """uint8 images (N, 32, 32, 3) as float (N, 3, 32, 32): `ToTensor` and `Normalize(.5, .5)` at once. The permuted
    view makes the memory channels-last at no cost."""
    return images_nhwc.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
