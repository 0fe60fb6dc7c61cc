"""Builds a network of one's own from the text of its file, and measures its size.

This runs the file's code. It is done for a config that a person asks to train, and never for one that was only read
from a record.
"""

import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from copy import deepcopy
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.flop_counter import FlopCounterMode

from trainable.errors import UsageError, first_line
from trainable.image_set import ImageSet
from trainable.network_file import Arguments, NetworkFile

IMAGES, MORE_IMAGES = 2, 3
"""Images of the batches on which a network is tried."""
SEED = 0
"""Of torch's generator, for the networks that are tried."""


class NetworkError(UsageError):
    """A network of one's own cannot be used. The message names the file and the problem."""

    def __init__(self, network: NetworkFile, problem: str, error: BaseException | None = None) -> None:
        super().__init__(f"network {network.file}: {problem}{_cause(network, error) if error else ''}")


def build_own(network: NetworkFile, arguments: Mapping[str, Any]) -> nn.Module:
    """The network that the file's `build` returns for the arguments. It gets images in PyTorch's usual memory layout.

    Parameters are drawn from torch's global generator. Raises `NetworkError` where the file or its `build` fails.
    """
    build = _load(network)
    try:
        module = build(**arguments)
        if isinstance(module, nn.Module):
            module.register_forward_pre_hook(_contiguous)
    except (Exception, SystemExit) as error:
        raise NetworkError(network, f"build({Arguments(arguments)}): ", error) from error
    if not isinstance(module, nn.Module):
        raise NetworkError(network, f"build must return a torch.nn.Module, and returned {type(module).__name__}")
    if lazy := [name for name, parameter in module.named_parameters() if is_lazy(parameter)]:
        raise NetworkError(network, f"{lazy[0]} is a lazy parameter: give its module its sizes")
    return module


def forward_flops(network: NetworkFile, arguments: Mapping[str, Any], data: ImageSet) -> float:
    """Floating-point operations of one image's forward pass: those of convolutions and matrix products, as PyTorch
    counts them, and 1 at least. The network is built twice and tried in evaluation mode, on the CPU.

    Raises `NetworkError` where the network does not map images (N, 3, P, P) of the data's size to scores (N, K) of its
    classes, where the scores do not depend on all of its parameters, where it cannot be copied, and where the second
    network gives other scores than the first.
    """
    return _measure(network, Arguments(arguments), data.size, len(data.classes))


@cache
def _measure(network: NetworkFile, arguments: Arguments, size: int, classes: int) -> float:
    counter, images_nchw = FlopCounterMode(display=False), torch.linspace(-1, 1, MORE_IMAGES * 3 * size**2)
    images_nchw = images_nchw.view(MORE_IMAGES, 3, size, size)
    # what the file prints must not stand between what a command prints
    with torch.random.fork_rng(devices=[]), redirect_stdout(sys.stderr):
        module = _try_to_build(network, arguments)
        with counter:
            scores_nk = _try(network, module, images_nchw[:IMAGES], classes)
        again_nk = _try(network, _try_to_build(network, arguments), images_nchw, classes)
    if not torch.allclose(again_nk[:IMAGES], scores_nk, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise NetworkError(
            network,
            "built and tried again, it gives other scores to the same images: draw random numbers with torch alone, "
            "and let no image act on another one in evaluation mode",
        )
    parameters = dict(module.named_parameters())
    gradients = torch.autograd.grad(scores_nk.sum(), list(parameters.values()), allow_unused=True)
    if unused := [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]:
        raise NetworkError(network, f"{unused[0]} does not act on the scores: leave it out")
    return max(1.0, counter.get_total_flops() / IMAGES)


def _try_to_build(network: NetworkFile, arguments: Arguments) -> nn.Module:
    torch.default_generator.manual_seed(SEED)
    module = build_own(network, arguments)
    parameters = dict(module.named_parameters())
    if not parameters:
        raise NetworkError(network, "it has no parameters to train")
    if frozen := [name for name, parameter in parameters.items() if not parameter.requires_grad]:
        raise NetworkError(network, f"{frozen[0]} has requires_grad False: make it a buffer, or let it be trained")
    try:
        return deepcopy(module).eval()  # averaged weights are a copy
    except Exception as error:
        raise NetworkError(network, "it cannot be copied: ", error) from error


def _try(network: NetworkFile, module: nn.Module, images_nchw: Tensor, classes: int) -> Tensor:
    """The network's scores (N, K), which depend on its parameters."""
    images = len(images_nchw)
    try:
        scores_nk = module(images_nchw)
    except (Exception, SystemExit) as error:
        raise NetworkError(network, f"on images {tuple(images_nchw.shape)}: ", error) from error
    if not isinstance(scores_nk, Tensor) or scores_nk.shape != (images, classes):
        found = f"a tensor {tuple(scores_nk.shape)}" if isinstance(scores_nk, Tensor) else type(scores_nk).__name__
        raise NetworkError(
            network, f"for {images} images it must return scores ({images}, {classes}), and returned {found}"
        )
    if not scores_nk.requires_grad:
        raise NetworkError(network, "the scores do not depend on any parameter")
    return scores_nk


@cache
def _load(network: NetworkFile) -> Callable[..., Any]:
    """The file's `build`. Its module is registered, and its text kept for tracebacks, as an import would do."""
    name = f"own_network_{network.digest}"
    module = ModuleType(name)
    module.__file__ = _path(network)
    sys.modules[name] = module
    linecache.cache[_path(network)] = len(network.code), None, network.code.splitlines(keepends=True), _path(network)
    try:
        with torch.random.fork_rng(devices=[]):
            exec(compile(network.code, _path(network), "exec"), module.__dict__)
        build = getattr(module, "build", None)
        parameters = inspect.signature(build).parameters if callable(build) else {}
    except (Exception, SystemExit) as error:
        raise NetworkError(network, "", error) from error
    if not callable(build):
        raise NetworkError(network, "must define a function build, which returns the network")
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty:  # a default and its value would be one training under two keys
            raise NetworkError(
                network,
                f"build({name}={parameter.default!r}): remove the default, and give the value in network_arguments, "
                "where the record shows it",
            )
    return build


def _path(network: NetworkFile) -> str:
    """The file's name in tracebacks."""
    return f"<{network}>"


def _cause(network: NetworkFile, error: BaseException) -> str:
    """The error, with the line of the file that led to it where there is one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _path(network)]
    line = f"line {frames[-1].lineno}: " if frames else ""
    return f"{line}{type(error).__name__}: {first_line(error)}"


def _contiguous(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.contiguous() for tensor in inputs)
