"""A training step as one CUDA graph.

A small network's kernels end sooner than Python launches the next one. A captured graph launches all kernels of a step
at once. On a CPU there is nothing to gain, and the step runs as it is.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

WARM_UP_RUNS = 3
"""Runs before the capture, in which libraries choose their kernels and allocate memory (PyTorch documentation, "CUDA
semantics", section "CUDA Graphs")."""

Step = Callable[..., tuple[Tensor, ...]]
_Capture = tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], tuple[Tensor, ...]]
"""A graph with the tensors that it reads its inputs from and writes its outputs to."""


class GraphedStep:
    """A function from tensors to tensors that is captured once for each combination of input shapes and then replayed.

    The returned tensors are overwritten by the next call. `state` lists the tensors that the function changes in place,
    so that the runs before the capture can be undone.
    """

    def __init__(self, step: Step, state: Iterable[Tensor]) -> None:
        self._step, self._state = step, list(state)
        self._captures: dict[tuple[torch.Size, ...], _Capture] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the step."""
        if not inputs[0].is_cuda:
            return self._step(*inputs)
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._captures:
            self._captures[shapes] = self._capture(inputs)
        graph, buffers, outputs = self._captures[shapes]
        for buffer, tensor in zip(buffers, inputs, strict=True):
            buffer.copy_(tensor)
        graph.replay()
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> _Capture:
        buffers = tuple(tensor.clone() for tensor in inputs)
        before = [tensor.clone() for tensor in self._state]
        generator, stream = torch.cuda.get_rng_state(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                self._step(*buffers)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._step(*buffers)
        torch.cuda.set_rng_state(generator)
        for tensor, value in zip(self._state, before, strict=True):
            tensor.copy_(value)
        return graph, buffers, outputs
