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

from trainable.architecture import CLASSES, IMAGE_SIZE
from trainable.errors import UsageError, first_line
from trainable.network_file import Arguments, NetworkFile

IMAGES = 2
"""Images of the batch on which a network is tried: batch norm needs two."""


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


def forward_flops(network: NetworkFile, arguments: Mapping[str, Any]) -> float:
    """Floating-point operations of one image's forward pass: those of convolutions and matrix products, as PyTorch
    counts them, and 1 at least. The network is built, and tried on two images in evaluation mode, on the CPU.

    Raises `NetworkError` where the network does not map images (N, 3, 32, 32) to class scores (N, 10), where the scores
    do not depend on all of its parameters, and where it cannot be copied.
    """
    return _measure(network, Arguments(arguments))


@cache
def _measure(network: NetworkFile, arguments: Arguments) -> float:
    counter, images_nchw = FlopCounterMode(display=False), torch.zeros(IMAGES, 3, IMAGE_SIZE, IMAGE_SIZE)
    # what the file prints must not stand between what a command prints
    with torch.random.fork_rng(devices=[]), redirect_stdout(sys.stderr):
        module = build_own(network, arguments).eval()
        try:
            deepcopy(module)  # as averaged weights need it
            with counter:
                scores = module(images_nchw)
        except (Exception, SystemExit) as error:
            raise NetworkError(network, f"on images {tuple(images_nchw.shape)}: ", error) from error
    if not isinstance(scores, Tensor) or scores.shape != (IMAGES, CLASSES):
        found = f"a tensor {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise NetworkError(
            network, f"for {IMAGES} images it must return scores ({IMAGES}, {CLASSES}), and returned {found}"
        )
    try:
        torch.autograd.grad(scores.sum(), list(module.parameters()))
    except (RuntimeError, ValueError) as error:  # the latter where it has no parameters
        raise NetworkError(network, f"the scores must depend on all of its parameters: {first_line(error)}") from error
    return max(1.0, counter.get_total_flops() / IMAGES)


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
