"""A network of one's own: a small residual network (He et al. 2016, arXiv 1512.03385, section 4.2).

`network` gets the `network_arguments` of a study's rows, here those of residual.yaml.
"""

from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions, with or without a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same_shape = inputs == outputs and stride == 1
        project = nn.Identity() if same_shape else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.shortcut = project if shortcut else None

    def forward(self, features_nchw: Tensor) -> Tensor:
        changed_nchw = self.layers(features_nchw)
        if self.shortcut is not None:
            changed_nchw = changed_nchw + self.shortcut(features_nchw)
        return changed_nchw.relu()


def network(width: int, blocks: int, shortcut: bool) -> nn.Module:
    """Three stages of `blocks` blocks, each with twice the channels of the one before; the first has `width`."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in range(3):
        for block in range(blocks):
            outputs = width * 2**stage
            layers.append(Block(channels, outputs, stride=2 if stage and not block else 1, shortcut=shortcut))
            channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
