"""The networks as data: their layers and the sizes of these. Models are built from it, and forecasts count its
arithmetic. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from trainable.config import Config
from trainable.own_code.code_file import CodeFile

_VGG_A_CHANNELS = (64, 128, 256, 256, 512, 512, 512, 512)
_VGG_A_POOLED = (True, True, False, True, False, True, False, True)
_VGG_A_HIDDEN = (512, 512)


@dataclass(frozen=True)
class Conv:
    """A 3x3 convolution with padding 1 on `size` x `size` pixels. With `pool`, 2x2 max-pooling follows it."""

    inputs: int
    outputs: int
    size: int
    pool: bool

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds in the forward pass of one image."""
        return self.inputs * self.outputs * 9 * self.size**2

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.outputs * (self.inputs * 9 + 1)


@dataclass(frozen=True)
class Linear:
    """A fully connected layer. `last` marks the output layer, which no activation follows."""

    inputs: int
    outputs: int
    last: bool

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds in the forward pass of one image."""
        return self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.outputs * (self.inputs + 1)


def layers(config: Config) -> Iterator[Conv | Linear]:
    """The config's layers, from the image to the class scores. Raises `TypeError` for a network of one's own."""
    channels: tuple[int, ...]
    pooled: tuple[bool, ...]
    match config.network:
        case "cnn":
            channels, pooled, hidden = config.channels, (True, True), config.hidden
        case "vgg-a":
            channels, pooled, hidden = _VGG_A_CHANNELS, _VGG_A_POOLED, _VGG_A_HIDDEN
        case CodeFile():
            raise TypeError(f"the layers of {config.network} are not known")
        case unknown:
            assert_never(unknown)
    inputs, size = 3, config.data.size
    for outputs, pool in zip(channels, pooled, strict=True):
        yield Conv(inputs, outputs, size, pool)
        inputs, size = outputs, size // 2 if pool else size
    inputs *= size**2
    for outputs in hidden:
        yield Linear(inputs, outputs, last=False)
        inputs = outputs
    yield Linear(inputs, len(config.data.classes), last=True)


def parameters(config: Config) -> int:
    """Number of trainable parameters. Batch norm adds two for each output of every layer but the last."""
    count = 0
    for layer in layers(config):
        count += layer.parameters
        if config.batch_norm and not (isinstance(layer, Linear) and layer.last):
            count += 2 * layer.outputs
    return count


def multiply_adds(config: Config) -> int:
    """Multiply-adds in the forward pass of one image. Raises `TypeError` for a network of one's own."""
    return sum(layer.multiply_adds for layer in layers(config))
