"""Batches of a split: its uint8 images are on the training's device, where they are augmented and normalised."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Generator, Tensor

from trainable.config import Config
from trainable.data import Split

EVALUATION_BATCH_SIZE = {"cpu": {"fp32": 128, "bf16": 512}, "cuda": {"fp32": 2000, "bf16": 2000}}
"""Images of 32x32 pixels in an evaluation batch of one seed, by device type and precision. On a CPU a larger batch
leaves the cache and a smaller one costs more calls (measured from 16 to 2,000 images). On a GPU a small batch leaves
the device idle (not measured)."""


class Batches:
    """A split on a device, served in batches.

    Images come as float32 (N, S*3, P, P) in [-1, 1], with P pixels in height and width: those of the S seeds that are
    trained together lie side by side in the channel dimension. Labels come as int64 (N, S). `images_nhwc` are the
    split's images where the device has them already. Raises `KeyError` for a device other than CPU and CUDA.
    """

    def __init__(self, split: Split, config: Config, device: torch.device, images_nhwc: Tensor | None = None) -> None:
        self._images_nhwc = torch.from_numpy(split.images).to(device) if images_nhwc is None else images_nhwc
        self._labels_n = torch.from_numpy(split.labels).to(device)
        self._index_n = torch.from_numpy(split.index).to(device)
        self._batch_sizes = _batch_sizes(len(split), config)
        self._flip, self._shift, self._cutout = config.flip, config.shift, config.cutout
        self._pixels = self._images_nhwc.shape[1]
        at_32_pixels = EVALUATION_BATCH_SIZE[device.type][config.precision]
        self._evaluation_batch_size = max(1, at_32_pixels * 32**2 // self._pixels**2)
        self.size = len(split)
        """Images in the split."""

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch; the last one may be smaller and is kept."""
        return len(self._batch_sizes)

    def shuffled(
        self, generators: Sequence[Generator], mirrored_ns: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch for S seeds, each with its own generator: what `load` needs for each training batch.

        Yields the batch's image numbers (N, S) and its random augmentation (N, S, A). Each generator draws the order
        first and the augmentation second, so that configs with and without augmentation share the order. `mirrored_ns`
        holds 1 for the images of the split, in its order, that are mirrored, on the batches' device; by default this is
        drawn, too.
        """
        drawn = [(torch.randperm(self.size, generator=each), self._draw_augmentation(each)) for each in generators]
        order_ns, augmentation_nsa = (self.stack_seeds(parts) for parts in zip(*drawn, strict=True))
        if mirrored_ns is not None:
            augmentation_nsa[..., 2] = mirrored_ns.gather(0, order_ns)
        rows_ns = self._index_n[order_ns]
        yield from zip(rows_ns.split(self._batch_sizes), augmentation_nsa.split(self._batch_sizes), strict=True)

    def stack_seeds(self, parts: Sequence[Tensor]) -> Tensor:
        """Each seed's numbers for the images (N, ...) side by side: (N, S, ...). The device interleaves them."""
        return torch.stack([part.to(self._index_n.device) for part in parts], 1)

    def load(self, rows_ns: Tensor, augmentation_nsa: Tensor) -> tuple[Tensor, Tensor]:
        """A training batch: augmented images (N, S*3, P, P) and labels (N, S)."""
        images_nchw = normalise(self._move(rows_ns, augmentation_nsa[..., :3]))
        if self._cutout:
            self._cut_out(images_nchw, augmentation_nsa[..., 3:])
        return images_nchw, self._labels_n[rows_ns].long()

    def in_order(self, seeds: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole split once, not augmented, for evaluation: images (N, 3, P, P) and labels (N,).

        Batches are smaller for more `seeds` that evaluate them together, so that a batch takes no more memory.
        """
        for rows_n in self._index_n.split(max(1, self._evaluation_batch_size // seeds)):
            yield normalise(self._images_nhwc.index_select(0, rows_n)[:, None]), self._labels_n[rows_n].long()

    def as_stored(self, at_a_time: int) -> Iterator[Tensor]:
        """Copies of the split's images in its order, neither augmented nor scaled: uint8 (N, 3, P, P)."""
        for rows_n in self._index_n.split(at_a_time):
            yield self._images_nhwc.index_select(0, rows_n).permute(0, 3, 1, 2).contiguous()

    @property
    def labels_n(self) -> Tensor:
        """The split's labels in its order: int64 (N,), on the device."""
        return self._labels_n[self._index_n].long()

    def _draw_augmentation(self, generator: Generator) -> Tensor:
        """For every image of an epoch: pixels down, pixels right, 1 where it is mirrored and, with cutout, the
        square's centre. Shape (N, 3) or (N, 5), or (N, 0) where the config does not augment."""
        if not (self._flip or self._shift or self._cutout):
            return torch.empty(self.size, 0, dtype=torch.int64)
        shifts_na = torch.randint(-self._shift, self._shift + 1, (self.size, 2), generator=generator)
        mirrored_na = torch.randint(2 if self._flip else 1, (self.size, 1), generator=generator)
        drawn = [shifts_na, mirrored_na]
        if self._cutout:
            drawn.append(torch.randint(self._pixels, (self.size, 2), generator=generator))
        return torch.cat(drawn, 1)

    def _move(self, rows_ns: Tensor, augmentation_nsa: Tensor) -> Tensor:
        """The uint8 images (N, S, P, P, 3), shifted with reflected edges and mirrored, by one gather of pixels."""
        if not augmentation_nsa.shape[-1]:
            return self._images_nhwc.index_select(0, rows_ns.flatten()).unflatten(0, rows_ns.shape)
        positions = torch.arange(self._pixels, device=rows_ns.device)
        down_ns1, right_ns1, mirrored_ns1 = augmentation_nsa.unsqueeze(-1).unbind(-2)
        y_nsh, x_nsw = self._reflect(positions + down_ns1), self._reflect(positions + right_ns1)
        x_nsw = torch.where(mirrored_ns1.bool(), x_nsw.flip(-1), x_nsw)
        lines_nsh1 = (rows_ns[..., None] * self._pixels + y_nsh)[..., None]
        pixels_nshw = lines_nsh1 * self._pixels + x_nsw[..., None, :]
        # on a CPU 5 times as fast as indexing
        chosen = self._images_nhwc.flatten(0, 2).index_select(0, pixels_nshw.flatten())
        return chosen.unflatten(0, pixels_nshw.shape)

    def _cut_out(self, images_nchw: Tensor, centres_nsa: Tensor) -> None:
        """Set a square around each image's centre (row, column) to 0, in place."""
        positions = torch.arange(self._pixels, device=images_nchw.device)
        top_ns1, left_ns1 = (centres_nsa - self._cutout // 2).unsqueeze(-1).unbind(-2)
        in_rows_nsh = (positions >= top_ns1) & (positions < top_ns1 + self._cutout)
        in_columns_nsw = (positions >= left_ns1) & (positions < left_ns1 + self._cutout)
        square_nshw = in_rows_nsh[..., :, None] & in_columns_nsw[..., None, :]
        images_nchw.unflatten(1, (-1, 3)).masked_fill_(square_nshw[:, :, None], 0)

    def _reflect(self, position: Tensor) -> Tensor:
        """Mirror positions outside the image at its first and last pixel."""
        last = self._pixels - 1
        return last - (last - position.abs()).abs()


def _batch_sizes(images: int, config: Config) -> list[int]:
    """The images of each training batch. Batch norm cannot train on one image: if one is left for the last batch, it
    joins the batch before. A network or a loss of one's own may need two, too."""
    full, rest = divmod(images, config.batch_size)
    if rest == 1 and full and (config.batch_norm or not {"network", "loss"}.isdisjoint(config.own_code)):
        return [*[config.batch_size] * (full - 1), config.batch_size + 1]
    return [config.batch_size] * full + [rest] * (rest > 0)


def batches_of(splits: Mapping[str, Split], config: Config, device: torch.device) -> dict[str, Batches]:
    """The batches of every split. Splits of the same images share them on the device."""
    arrays = {id(split.images): split.images for split in splits.values()}
    images = {each: torch.from_numpy(array).to(device) for each, array in arrays.items()}
    return {name: Batches(split, config, device, images[id(split.images)]) for name, split in splits.items()}


def normalise(images_nshwc: Tensor) -> Tensor:
    """uint8 images (N, S, P, P, 3) as float32 (N, S*3, P, P) in [-1, 1].

    This is torchvision's `ToTensor` and `Normalize(0.5, 0.5)` in one step. With S = 1 the result is a permuted view,
    which is in channels-last memory format at no cost.
    """
    return images_nshwc.permute(0, 1, 4, 2, 3).flatten(1, 2).float().div_(127.5).sub_(1)
