"""The networks of the study as torch modules: convolutions, then linear layers, each followed by its activation."""

from collections import OrderedDict
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainable.architecture import Conv, Linear, layers
from trainable.config import Config
from trainable.own_code.code_file import CodeFile
from trainable.own_code.network import build_own

ONEDNN_BLOCK = 16
"""Channels that oneDNN keeps together on processors with AVX-512."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1. On a CPU it gives features in the memory layout of oneDNN, torch's library for
    CPUs, in which convolutions, batch norm, pooling and ReLU take less time. Other layers need torch's own layout: see
    `TorchLayout`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, padding=1)

    def forward(self, features_nchw: Tensor) -> Tensor:
        """Features (N, I, H, W), in either layout, to (N, O, H, W)."""
        differentiable = self.training or not torch.is_grad_enabled()  # oneDNN's batch norm has gradients in training
        if differentiable and not features_nchw.is_mkldnn and self._onednn_is_faster(features_nchw):
            features_nchw = features_nchw.to_mkldnn(torch.bfloat16 if torch.is_autocast_enabled("cpu") else None)
        if features_nchw.is_mkldnn:  # `conv2d` refuses bf16 in this layout
            return torch.mkldnn_convolution(
                features_nchw, self.weight, self.bias, padding=(1, 1), stride=(1, 1), dilation=(1, 1), groups=1
            )
        return super().forward(features_nchw)

    def _onednn_is_faster(self, features_nchw: Tensor) -> bool:
        """Whether features in torch's layout are to be brought into that of oneDNN."""
        if features_nchw.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return False
        if not torch.is_autocast_enabled("cpu"):
            return features_nchw.dtype == torch.float32
        if torch.backends.cpu.get_cpu_capability() != "AVX512":  # oneDNN refuses bf16
            return False
        # gradients of features whose channels do not fill their blocks take it half as long again as torch
        channels = self.out_channels, self.in_channels if features_nchw.requires_grad else 0
        return not self.training or not any(each % ONEDNN_BLOCK for each in channels)


class MaxPool(nn.MaxPool2d):
    """Max-pooling by 2 x 2. Without gradients, on a CPU, it takes less than half of torch's time, which also computes
    where each maximum was."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, features_nchw: Tensor) -> Tensor:
        """Features (N, C, H, W) to (N, C, H/2, W/2), rounded down, in the same layout."""
        if torch.is_grad_enabled() or features_nchw.is_mkldnn or features_nchw.device.type != "cpu":
            return super().forward(features_nchw)
        height, width = features_nchw.shape[2] // 2 * 2, features_nchw.shape[3] // 2 * 2
        lines_nchw = torch.maximum(features_nchw[:, :, :height:2], features_nchw[:, :, 1:height:2])
        return torch.maximum(lines_nchw[..., :width:2], lines_nchw[..., 1:width:2])


class ReLU(nn.ReLU):
    """ReLU, in place where the layer before it does not need what it put out for its gradient."""

    def forward(self, features: Tensor) -> Tensor:
        """Features of any shape, in either layout; oneDNN's pooling needs what it put out."""
        return F.relu(features, inplace=not features.is_mkldnn)


class TorchLayout(nn.Module):
    """Brings features back to torch's memory layout."""

    def forward(self, features: Tensor) -> Tensor:
        """Features of any shape, in either layout."""
        return features.to_dense() if features.is_mkldnn else features


ACTIVATIONS = {"relu": ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus}


def build(config: Config) -> nn.Module:
    """The config's network, from float images (N, 3, P, P) to class scores (N, K), for the size and the classes of its
    data.

    The parameters are drawn from torch's global generator. Raises `OwnCodeError` for a network of one's own that cannot
    be built.
    """
    if isinstance(config.network, CodeFile):
        return build_own(config.network, config.network_arguments)
    return _build(config)


def _build(config: Config) -> nn.Sequential:
    """A network of layers that `trainable.architecture` lists, with PyTorch's default initialisation.

    Batch norm and dropout come before the activation. So does pooling: every activation here is monotone, so the
    function is the same as with the activation first, and the activation has a quarter of the values to compute.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number, layer in enumerate(layers(config), start=1):
        match layer:
            case Conv():
                modules[f"conv{number}"] = Conv3x3(layer.inputs, layer.outputs)
                if config.batch_norm:
                    modules[f"norm{number}"] = nn.BatchNorm2d(layer.outputs, momentum=config.bn_momentum)
                if layer.pool:
                    modules[f"pool{number}"] = MaxPool()
                if config.dropout or config.activation != "relu":
                    modules[f"layout{number}"] = TorchLayout()
                if config.dropout:
                    modules[f"drop{number}"] = nn.Dropout2d(config.dropout)
            case Linear():
                if "flatten" not in modules:
                    modules["layout"] = TorchLayout()
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
        modules[f"{config.activation}{number}"] = ACTIVATIONS[config.activation]()
    return nn.Sequential(modules)
