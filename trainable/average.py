"""The average of a network over its training steps."""

from copy import deepcopy

import torch
from torch import nn


class MovingAverage:
    """An exponential moving average of a network's parameters and of batch norm's running statistics.

    It starts as the network. After step t, counted from 1, it keeps the share min(decay, (1 + t) / (10 + t)) of itself
    and takes the rest from the network, so that it soon forgets the start (as TensorFlow's `ExponentialMovingAverage`
    does). torch's `AveragedModel` does not fit: it averages batch norm's count of batches, which is an integer, and
    makes the host wait for the GPU in every step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        counts = {id(buffer): buffer for buffer in network.buffers() if not buffer.is_floating_point()}
        self.network = deepcopy(network, counts)
        """The averaged network. It shares the counts of batches with the network that is trained."""
        averages, latest = (
            [tensor.detach() for tensor in (*each.parameters(), *each.buffers()) if tensor.is_floating_point()]
            for each in (self.network, network)
        )
        self._averages, self._latest = averages, latest

    def update(self, step: int) -> None:
        """Take in the network after a step, counted from 1."""
        torch._foreach_lerp_(self._averages, self._latest, 1 - min(self._decay, (1 + step) / (10 + step)))
