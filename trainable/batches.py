"""Batches of a split: gathered as uint8 on the training's device, augmented and normalised there."""

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from trainable.architecture import IMAGE_SIZE
from trainable.config import Config
from trainable.data import Split

EVALUATION_BATCH = {"cpu": 256, "cuda": 2000}
"""Images a batch in evaluation: on a CPU a larger one leaves its cache and is slower (measured: 128 to 2,000); on a GPU
a small one leaves it idle (not measured)."""


class Batches:
    """A split on a device. Images come out as float (N, S*3, 32, 32) in [-1, 1], S images side by side (one for each
    seed that is trained together), labels as int64 (N, S)."""

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        self._images = torch.from_numpy(split.images).to(device)
        self._labels = torch.from_numpy(split.labels).to(device)
        self._index = torch.from_numpy(split.index).to(device)
        self._batch_size, self._flip, self._shift = config.batch_size, config.flip, config.shift
        self._evaluation_batch = EVALUATION_BATCH[device.type]
        self.size = len(split)

    def count(self, batch_size: int) -> int:
        """Steps an epoch; the last partial batch is kept."""
        return -(-self.size // batch_size)

    def shuffled(self, generators: Sequence[Generator]) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch for S seeds: batches of rows (N, S) and of their moves (N, S, 3), for `load`.

        A seed's order is its generator's first draw and the moves are the next, so that configs share the order.
        """
        drawn = [(torch.randperm(self.size, generator=generator), self._moves(generator)) for generator in generators]
        order_ns, moves_ns3 = (torch.stack(parts, 1).to(self._index.device) for parts in zip(*drawn, strict=True))
        yield from zip(self._index[order_ns].split(self._batch_size), moves_ns3.split(self._batch_size), strict=True)

    def load(self, rows_ns: Tensor, moves_ns3: Tensor) -> tuple[Tensor, Tensor]:
        """A training batch: the rows' images, mirrored and shifted as their moves say, and their labels."""
        return normalise(self._moved(rows_ns, moves_ns3)), self._labels[rows_ns].long()

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole split once, not augmented, for evaluation: images (N, 3, 32, 32) and labels (N,)."""
        for rows_n in self._index.split(self._evaluation_batch):
            yield normalise(self._images[rows_n, None]), self._labels[rows_n].long()

    def _moves(self, generator: Generator) -> Tensor:
        """For every image of an epoch: pixels down, pixels right, and 1 where it is mirrored."""
        if not (self._flip or self._shift):
            return torch.empty(self.size, 0, dtype=torch.int64)
        offsets = torch.randint(-self._shift, self._shift + 1, (self.size, 2), generator=generator)
        mirrored = torch.randint(2 if self._flip else 1, (self.size, 1), generator=generator)
        return torch.cat([offsets, mirrored], 1)

    def _moved(self, rows_ns: Tensor, moves_ns3: Tensor) -> Tensor:
        """The rows' images (N, S, 32, 32, 3) uint8, moved (edges reflected) by one gather of pixels."""
        if not moves_ns3.shape[-1]:
            return self._images[rows_ns]
        pixels = torch.arange(IMAGE_SIZE, device=rows_ns.device)
        down, right, mirrored = moves_ns3.unsqueeze(-1).unbind(-2)
        y, x = self._reflect(pixels + down), self._reflect(pixels + right)
        x = torch.where(mirrored.bool(), x.flip(-1), x)
        return self._images[rows_ns[..., None, None], y[..., :, None], x[..., None, :]]

    @staticmethod
    def _reflect(position: Tensor) -> Tensor:
        last = IMAGE_SIZE - 1
        return last - (last - position.abs()).abs()


def normalise(images_nshwc: Tensor) -> Tensor:
    """uint8 images (N, S, 32, 32, 3) as float (N, S*3, 32, 32): `ToTensor` and `Normalize(.5, .5)` at once. Of a single
    image (S = 1) this is a permuted view, which makes the memory channels-last at no cost."""
    return images_nshwc.permute(0, 1, 4, 2, 3).flatten(1, 2).float().div_(127.5).sub_(1)
