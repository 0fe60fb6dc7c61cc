"""The networks of the study as torch modules: convolutions, then linear layers, each followed by its activation."""

from collections import OrderedDict
from typing import assert_never

import torch
from torch import Tensor, nn

from trainable.architecture import Conv, Linear, layers
from trainable.config import Config

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus}


class MaxPool(nn.MaxPool2d):
    """Max-pooling by 2 x 2. Without gradients, on a CPU, it takes less than half of torch's time, which also computes
    where each maximum was."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, features_nchw: Tensor) -> Tensor:
        """Features (N, C, H, W) with even H and W to (N, C, H/2, W/2)."""
        if torch.is_grad_enabled() or features_nchw.device.type != "cpu":
            return super().forward(features_nchw)
        lines_nchw = torch.maximum(features_nchw[:, :, ::2], features_nchw[:, :, 1::2])
        return torch.maximum(lines_nchw[..., ::2], lines_nchw[..., 1::2])


def build(config: Config) -> nn.Sequential:
    """The config's network, from float images (N, 3, 32, 32) to class scores (N, 10).

    PyTorch's default initialisation draws the parameters from torch's global generator. Batch norm and dropout come
    before the activation. So does pooling: every activation here is monotone, so the function is the same as with the
    activation first, and the activation has a quarter of the values to compute.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number, layer in enumerate(layers(config), start=1):
        match layer:
            case Conv():
                modules[f"conv{number}"] = nn.Conv2d(layer.inputs, layer.outputs, kernel_size=3, padding=1)
                if config.batch_norm:
                    modules[f"norm{number}"] = nn.BatchNorm2d(layer.outputs, momentum=config.bn_momentum)
                if layer.pool:
                    modules[f"pool{number}"] = MaxPool()
                if config.dropout:
                    modules[f"drop{number}"] = nn.Dropout2d(config.dropout)
            case Linear():
                if "flatten" not in modules:
                    modules["flatten"] = nn.Flatten()
                modules[f"linear{number}"] = nn.Linear(layer.inputs, layer.outputs)
                if layer.last:
                    break
                if config.batch_norm:
                    modules[f"norm{number}"] = nn.BatchNorm1d(layer.outputs, momentum=config.bn_momentum)
                if config.dropout:
                    modules[f"drop{number}"] = nn.Dropout(config.dropout)
            case unknown:
                assert_never(unknown)
        activation = ACTIVATIONS[config.activation]()
        if isinstance(activation, nn.ReLU):
            activation.inplace = True  # no layer needs what it put out for its own gradient
        modules[f"{config.activation}{number}"] = activation
    return nn.Sequential(modules)
