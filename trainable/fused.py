"""Seeds fused into one program: the networks of S seeds side by side, as one network.

A small network leaves most of a GPU idle: its kernels end before the next one is launched. S of them side by side in
the channel dimension are one network of S times the channels, whose convolutions are grouped and whose linear layers
are batched products (Wang et al. 2021, "Horizontally Fused Training Array", arXiv 2102.02344, section 3). Batch norm,
pooling, dropout and activations work channel by channel, and optimizers value by value: they need no change.

A fused network maps images (N, S*3, 32, 32) to class scores (N, S*10). Its parameters and buffers are the networks'
own, joined in their first dimension.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class FusedLinear(nn.Module):
    """S linear layers of one shape: features (N, S*inputs) to (N, S*outputs)."""

    def __init__(self, linear: nn.Linear, count: int) -> None:
        super().__init__()
        self._count = count
        self.weight = nn.Parameter(torch.empty(count * linear.out_features, linear.in_features))
        self.bias = nn.Parameter(torch.empty(count * linear.out_features))

    def forward(self, features: Tensor) -> Tensor:
        """One batched product."""
        inputs_sni = features.unflatten(1, (self._count, -1)).transpose(0, 1)
        weight_sio = self.weight.unflatten(0, (self._count, -1)).transpose(1, 2)
        outputs_sno = torch.baddbmm(self.bias.view(self._count, 1, -1), inputs_sni, weight_sio)
        return outputs_sno.transpose(0, 1).flatten(1)


def fuse(networks: Sequence[nn.Sequential]) -> nn.Sequential:
    """One network that computes all of them; a single one is returned as it is."""
    if len(networks) == 1:
        return networks[0]
    fused = nn.Sequential()
    for name, module in networks[0].named_children():
        fused.add_module(name, _widen(module, len(networks)))
    fused.load_state_dict(join([network.state_dict() for network in networks]))
    return fused


def join(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The fused network's state from each network's; a count of batches is the same in all of them."""
    return {
        name: torch.cat([state[name] for state in states]) if first.ndim else first for name, first in states[0].items()
    }


def separate(state: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Each network's state from the fused network's: the inverse of `join`."""
    return [
        {name: tensor.chunk(count)[place] if tensor.ndim else tensor for name, tensor in state.items()}
        for place in range(count)
    ]


def _widen(module: nn.Module, count: int) -> nn.Module:
    match module:
        case nn.Conv2d():
            assert isinstance(module.padding, tuple)
            channels = count * module.in_channels, count * module.out_channels
            return nn.Conv2d(*channels, module.kernel_size, padding=module.padding, groups=count)  # type: ignore[arg-type]
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return type(module)(count * module.num_features, momentum=module.momentum)
        case nn.Linear():
            return FusedLinear(module, count)
        case _:
            return module
