"""Seeds fused into one program: the networks of S seeds side by side, as one network.

A small network leaves most of a GPU idle, because its kernels end before the next one is launched. The networks of S
seeds, put side by side in the channel dimension, form one network with S times the channels. Its convolutions are
grouped and its linear layers are batched matrix products (Wang et al. 2021, "Horizontally Fused Training Array", arXiv
2102.02344, section 3). Batch norm, pooling, dropout and activations treat each channel separately, and torch's
optimizers each value, so they work as they are. Muon treats each weight matrix as a whole, and is told the number of
seeds.

A fused network maps images (N, S*3, P, P) to class scores (N, S*K). It also takes images (N, 3, P, P) that all
seeds share, as in evaluation, without a copy of them for each seed. Each of its parameters and buffers is the
concatenation of the single networks' along the first dimension.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainable.model import ACTIVATIONS, Conv3x3, TorchLayout

_CONV = {"stride": (1, 1), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}
REQUIRED: dict[type[nn.Module], dict[str, Any]] = {
    nn.Conv2d: _CONV,
    Conv3x3: _CONV,
    nn.BatchNorm1d: {"affine": True, "track_running_stats": True},
    nn.BatchNorm2d: {"affine": True, "track_running_stats": True},
}
"""Settings that torch's own layers must have to be fused. The layers of `trainable.model` have them."""


@runtime_checkable
class Widening(Protocol):
    """A layer that knows itself how several of it compute side by side."""

    def widen(self, seeds: int) -> nn.Module:
        """The layer for all seeds; its parameters are the seeds' own, joined in their first dimension, and not set."""


class FusedConv(nn.Conv2d):
    """S convolutions side by side, from features (N, S*I, H, W) of each seed's own, or (N, I, H, W) that all share, to
    (N, S*O, H, W)."""

    def __init__(self, conv: nn.Conv2d, seeds: int) -> None:
        assert isinstance(conv.padding, tuple)
        channels = seeds * conv.in_channels, seeds * conv.out_channels
        super().__init__(*channels, conv.kernel_size, padding=conv.padding, groups=seeds)  # type: ignore[arg-type]

    def forward(self, features_nchw: Tensor) -> Tensor:
        """Apply every seed's convolution."""
        groups = self.groups if features_nchw.shape[1] == self.in_channels else 1
        return F.conv2d(features_nchw, self.weight, self.bias, padding=self.padding, groups=groups)


class FusedLinear(nn.Module):
    """S linear layers of the same shape, from features (N, S*I) to (N, S*O)."""

    def __init__(self, linear: nn.Linear, seeds: int) -> None:
        super().__init__()
        self._seeds = seeds
        self.weight = nn.Parameter(torch.empty(seeds * linear.out_features, linear.in_features))
        self.bias = nn.Parameter(torch.empty(seeds * linear.out_features))

    def forward(self, features_ni: Tensor) -> Tensor:
        """Apply every seed's layer in one batched product."""
        inputs_sni = features_ni.unflatten(1, (self._seeds, -1)).transpose(0, 1)
        weight_sio = self.weight.unflatten(0, (self._seeds, -1)).transpose(1, 2)
        bias_s1o = self.bias.view(self._seeds, 1, -1)
        outputs_sno = torch.baddbmm(bias_s1o, inputs_sni, weight_sio)
        return outputs_sno.transpose(0, 1).flatten(1)


def fuse(networks: Sequence[nn.Module]) -> nn.Module:
    """One network that computes what all of these compute. They must have the same architecture. A single network is
    returned as it is. torch's global generator is left alone. Raises `TypeError` for a network that is no chain of
    layers, and for a layer that cannot be fused."""
    if len(networks) == 1:
        return networks[0]
    if not isinstance(networks[0], nn.Sequential):
        raise TypeError(f"seeds cannot be fused: a {type(networks[0]).__name__} is no chain of layers")
    fused = nn.Sequential()
    with torch.random.fork_rng(devices=[]):  # a new layer draws parameters, although they are replaced
        for name, module in networks[0].named_children():
            fused.add_module(name, _widen(module, len(networks)))
    fused.load_state_dict(join([network.state_dict() for network in networks]))
    return fused


def join(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The fused network's state from the single networks' states.

    Tensors without dimensions (batch norm's count of batches) are the same in all states and are taken from the first.
    """
    return {
        name: torch.cat([state[name] for state in states]) if first.ndim else first for name, first in states[0].items()
    }


def separate(state: Mapping[str, Tensor], seeds: int) -> list[dict[str, Tensor]]:
    """The single networks' states from the fused network's. The inverse of `join`."""
    return [
        {name: tensor.chunk(seeds)[index] if tensor.ndim else tensor for name, tensor in state.items()}
        for index in range(seeds)
    ]


def _widen(module: nn.Module, seeds: int) -> nn.Module:
    """The layer that computes this layer for all seeds side by side. Its parameters are not set."""
    if isinstance(module, Widening):
        return module.widen(seeds)
    for name, value in REQUIRED.get(type(module), {}).items():
        if getattr(module, name) != value:
            raise TypeError(
                f"seeds cannot be fused: a {type(module).__name__} layer with {name} {getattr(module, name)}; expected "
                f"{value}"
            )
    match module:
        case nn.Conv2d() if type(module) in REQUIRED:
            return FusedConv(module, seeds)
        case nn.BatchNorm1d() | nn.BatchNorm2d() if type(module) in REQUIRED:
            return type(module)(seeds * module.num_features, eps=module.eps, momentum=module.momentum)
        case nn.Linear() if type(module) is nn.Linear:
            return FusedLinear(module, seeds)
        case nn.MaxPool2d() | nn.Dropout() | nn.Dropout2d() | TorchLayout() | nn.Flatten():
            return module
        case _ if isinstance(module, tuple(ACTIVATIONS.values())):
            return module
        case _:
            raise TypeError(f"seeds cannot be fused: nothing says how to fuse a {type(module).__name__} layer")
