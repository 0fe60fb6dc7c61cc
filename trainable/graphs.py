"""A step as one CUDA graph: the GPU replays its kernels by itself, and Python, which is slower, launches one thing.

On a CPU there is nothing to gain and the step runs as it is.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

WARM_UP = 3
"""Runs before the capture, in which libraries choose their kernels and allocate (PyTorch's notes on CUDA graphs)."""

Step = Callable[..., tuple[Tensor, ...]]


class GraphedStep:
    """A function from tensors to tensors, captured once for each shape of its inputs and replayed from then on.

    What it returns is overwritten by the next call. `state` are the tensors that the function changes in place; the
    warm-up leaves them as they were.
    """

    def __init__(self, step: Step, state: Iterable[Tensor]) -> None:
        self._step, self._state = step, list(state)
        self._captured: dict[
            tuple[torch.Size, ...], tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], tuple[Tensor, ...]]
        ]
        self._captured = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the step."""
        if not inputs[0].is_cuda:
            return self._step(*inputs)
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._captured:
            self._captured[shapes] = self._capture(inputs)
        graph, held, outputs = self._captured[shapes]
        for place, tensor in zip(held, inputs, strict=True):
            place.copy_(tensor)
        graph.replay()
        return outputs

    def _capture(
        self, inputs: tuple[Tensor, ...]
    ) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], tuple[Tensor, ...]]:
        held = tuple(tensor.clone() for tensor in inputs)
        before = [tensor.clone() for tensor in self._state]
        generator, stream = torch.cuda.get_rng_state(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step(*held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._step(*held)
        torch.cuda.set_rng_state(generator)
        for tensor, value in zip(self._state, before, strict=True):
            tensor.copy_(value)
        return graph, held, outputs
