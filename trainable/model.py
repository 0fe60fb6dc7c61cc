"""The networks of the study: convolutions, then linear layers, with batch norm, dropout and the activation between."""

from collections import OrderedDict

import torch
from torch import nn

from trainable.architecture import Conv, layers
from trainable.config import Config

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus}


def build(config: Config) -> nn.Sequential:
    """The config's network: float images (N, 3, 32, 32) to class scores (N, 10), initialised by PyTorch's defaults.

    The initial parameters depend on torch's global generator alone. Pooling stands before the activation: every
    activation here is monotone, so the function is the same and the activation touches a quarter of the values.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number, layer in enumerate(layers(config), start=1):
        if isinstance(layer, Conv):
            modules[f"conv{number}"] = nn.Conv2d(layer.inputs, layer.outputs, kernel_size=3, padding=1)
            if config.batch_norm:
                modules[f"norm{number}"] = nn.BatchNorm2d(layer.outputs, momentum=config.bn_momentum)
            if layer.pool:
                modules[f"pool{number}"] = nn.MaxPool2d(2)
            if config.dropout:
                modules[f"drop{number}"] = nn.Dropout2d(config.dropout)
        else:
            if "flatten" not in modules:
                modules["flatten"] = nn.Flatten()
            modules[f"linear{number}"] = nn.Linear(layer.inputs, layer.outputs)
            if layer.last:
                break
            if config.batch_norm:
                modules[f"norm{number}"] = nn.BatchNorm1d(layer.outputs, momentum=config.bn_momentum)
            if config.dropout:
                modules[f"drop{number}"] = nn.Dropout(config.dropout)
        modules[f"{config.activation}{number}"] = ACTIVATIONS[config.activation]()
    return nn.Sequential(modules)


def prepare_torch() -> None:
    """Set up this process for networks to compute fast, and in the precision that their configs name."""
    torch.set_flush_denormal(True)  # a strong penalty shrinks weights to denormals: 10 times slower on a CPU
    torch.backends.cudnn.allow_tf32 = False  # fp32 is fp32: lower precision is a config's choice
    torch.backends.cudnn.benchmark = True
