"""A training step as one CUDA graph.

A small network's kernels end sooner than Python launches the next one. A captured graph launches all kernels of a step
at once. On a CPU there is nothing to gain, and the step runs as it is.
"""

from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor

WARM_UP_RUNS = 3
"""Runs before the capture, in which libraries choose their kernels and allocate memory (PyTorch documentation, "CUDA
semantics", section "CUDA Graphs")."""

Step = Callable[..., tuple[Tensor, ...]]
_Capture = tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], tuple[Tensor, ...]]
"""A graph with the tensors that it reads its inputs from and writes its outputs to."""


class GraphedStep:
    """A function from tensors to tensors that is captured at its first call and then replayed.

    Inputs of other shapes than at the first call, as in an epoch's last batch, run as they are: one such step in an
    epoch does not pay for a graph's memory. The returned tensors are overwritten by the next call. `state` lists the
    tensors that the function changes in place, so that the runs before the capture can be undone.
    """

    def __init__(self, step: Step, state: Iterable[Tensor]) -> None:
        self._step, self._state = step, list(state)
        self._captured: _Capture | None = None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the step."""
        if not inputs[0].is_cuda:
            return self._step(*inputs)
        if self._captured is None:
            with torch.cuda.device(inputs[0].device):
                self._captured = self._capture(inputs)
        graph, buffers, outputs = self._captured
        if [tensor.shape for tensor in inputs] != [buffer.shape for buffer in buffers]:
            return self._step(*inputs)
        for buffer, tensor in zip(buffers, inputs, strict=True):
            buffer.copy_(tensor)
        graph.replay()
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> _Capture:
        buffers = tuple(tensor.clone() for tensor in inputs)
        before = [tensor.clone() for tensor in self._state]
        generator, stream = torch.cuda.get_rng_state(), _side_stream(inputs[0].device)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                self._step(*buffers)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            outputs = self._step(*buffers)
        torch.cuda.set_rng_state(generator)
        for tensor, value in zip(self._state, before, strict=True):
            tensor.copy_(value)
        return graph, buffers, outputs


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of all captures on a GPU in this process. Each stream that computes a product keeps a workspace for
    good (pytorch/pytorch#99196)."""
    return torch.cuda.Stream(device)
