"""Builds a network of one's own, tries it, and measures its size."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.flop_counter import FlopCounterMode

from trainable.image_set import ImageSet
from trainable.own_code.code_file import Arguments, CodeFile
from trainable.own_code.loading import OwnCodeError, call_own, images_to_try, problems_of, tried

IMAGES, MORE_IMAGES = 2, 3
"""Images of the batches on which a network is tried."""


def build_own(network: CodeFile, arguments: Mapping[str, Any]) -> nn.Module:
    """The network that the file's `network` returns for the arguments. It gets images in PyTorch's usual memory layout.

    Parameters are drawn from torch's global generator. Raises `OwnCodeError` where the file or its function fails.
    """
    module = call_own("network", network, arguments)
    if not isinstance(module, nn.Module):
        raise OwnCodeError.of(
            "network", network, f"it must return a torch.nn.Module, and returned {type(module).__name__}"
        )
    with problems_of("network", network):
        module.register_forward_pre_hook(_contiguous)
    if lazy := [name for name, parameter in module.named_parameters() if is_lazy(parameter)]:
        raise OwnCodeError.of("network", network, f"{lazy[0]} is a lazy parameter: give its module its sizes")
    return module


def forward_flops(network: CodeFile, arguments: Mapping[str, Any], data: ImageSet) -> float:
    """Floating-point operations of one image's forward pass: those of convolutions and matrix products, as PyTorch
    counts them, and 1 at least. The network is built twice and tried on the CPU, in evaluation mode and, once, in
    training mode.

    Raises `OwnCodeError` where the network does not map images (N, 3, P, P) of the data's size to scores (N, K) of its
    classes, where the scores do not depend on all of its parameters, where it cannot be copied, and where the second
    network gives other scores than the first.
    """
    return _measure(network, Arguments(arguments), data.size, len(data.classes))


@cache
def _measure(network: CodeFile, arguments: Arguments, size: int, classes: int) -> float:
    counter, images_nchw = FlopCounterMode(display=False), images_to_try(MORE_IMAGES, size)
    with tried():
        module = _try_to_build(network, arguments)
        with counter:
            scores_nk = _try(network, module, images_nchw[:IMAGES], classes)
    with tried():
        again = _try_to_build(network, arguments)
        again_nk = _try(network, again, images_nchw, classes)
        _try(network, again.train(), images_nchw, classes, "in training, ")
    if not torch.allclose(again_nk[:IMAGES], scores_nk, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise OwnCodeError.of(
            "network",
            network,
            "built and tried again, it gives other scores to the same images: draw random numbers with torch alone, "
            "and let no image act on another one in evaluation mode",
        )
    parameters = dict(module.named_parameters())
    gradients = torch.autograd.grad(scores_nk.sum(), list(parameters.values()), allow_unused=True)
    if unused := [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]:
        raise OwnCodeError.of("network", network, f"{unused[0]} does not act on the scores: leave it out")
    return max(1.0, counter.get_total_flops() / IMAGES)


def _try_to_build(network: CodeFile, arguments: Arguments) -> nn.Module:
    module = build_own(network, arguments)
    parameters = dict(module.named_parameters())
    if not parameters:
        raise OwnCodeError.of("network", network, "it has no parameters to train")
    if frozen := [name for name, parameter in parameters.items() if not parameter.requires_grad]:
        raise OwnCodeError.of(
            "network", network, f"{frozen[0]} has requires_grad False: make it a buffer, or let it be trained"
        )
    with problems_of("network", network, "it cannot be copied: "):
        return deepcopy(module).eval()  # averaged weights are a copy


def _try(network: CodeFile, module: nn.Module, images_nchw: Tensor, classes: int, when: str = "") -> Tensor:
    """The network's scores (N, K), which depend on its parameters."""
    images = len(images_nchw)
    with problems_of("network", network, f"{when}on images {tuple(images_nchw.shape)}: "):
        scores_nk = module(images_nchw)
    if not isinstance(scores_nk, Tensor) or scores_nk.shape != (images, classes):
        found = f"a tensor {tuple(scores_nk.shape)}" if isinstance(scores_nk, Tensor) else type(scores_nk).__name__
        raise OwnCodeError.of(
            "network",
            network,
            f"{when}for {images} images it must return scores ({images}, {classes}), and returned {found}",
        )
    if not scores_nk.requires_grad:
        raise OwnCodeError.of("network", network, f"{when}the scores do not depend on any parameter")
    return scores_nk


def _contiguous(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.contiguous() for tensor in inputs)
