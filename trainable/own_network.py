"""Builds a network of one's own from the text of its file, and measures its size.

This runs the file's code. It is done for a config that a person asks to train, and never for one that was only read
from a record.
"""

import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainable.architecture import CLASSES, IMAGE_SIZE
from trainable.errors import UsageError, first_line
from trainable.network_file import Arguments, NetworkFile

IMAGES = 2
"""Images of the batch on which a network is tried: batch norm needs two."""


class NetworkError(UsageError):
    """A network of one's own cannot be used. The message names the file and the problem."""


def build_own(network: NetworkFile, arguments: Mapping[str, Any]) -> nn.Module:
    """The network that the file's `build` returns for the arguments. It gets images in PyTorch's usual memory layout.

    Parameters are drawn from torch's global generator. Raises `NetworkError` where the file or its `build` fails.
    """
    build = _load(network)
    try:
        module = build(**arguments)
    except Exception as error:
        raise NetworkError(
            f"network {network.file}: build({Arguments(arguments)}): {_cause(network, error)}"
        ) from error
    if not isinstance(module, nn.Module):
        raise NetworkError(
            f"network {network.file}: build must return a torch.nn.Module, and returned {type(module).__name__}"
        )
    module.register_forward_pre_hook(_contiguous)
    return module


def forward_flops(network: NetworkFile, arguments: Mapping[str, Any]) -> float:
    """Floating-point operations of one image's forward pass: those of convolutions and matrix products, as PyTorch
    counts them, and 1 at least. The network is built, and tried on two images, on the CPU.

    Raises `NetworkError` where the network does not map images (N, 3, 32, 32) to class scores (N, 10), and where the
    scores do not depend on all of its parameters.
    """
    return _measure(network, Arguments(arguments))


@cache
def _measure(network: NetworkFile, arguments: Arguments) -> float:
    counter, images_nchw = FlopCounterMode(display=False), torch.zeros(IMAGES, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.random.fork_rng(devices=[]):
        module = build_own(network, arguments)
        try:
            with counter:
                scores = module(images_nchw)
        except Exception as error:
            shape = tuple(images_nchw.shape)
            raise NetworkError(f"network {network.file}: on images {shape}: {_cause(network, error)}") from error
    if not isinstance(scores, Tensor) or scores.shape != (IMAGES, CLASSES):
        found = f"a tensor {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise NetworkError(
            f"network {network.file}: for {IMAGES} images it must return scores ({IMAGES}, {CLASSES}), and returned "
            f"{found}"
        )
    try:
        torch.autograd.grad(scores.sum(), list(module.parameters()))
    except (RuntimeError, ValueError) as error:  # the latter where it has no parameters
        raise NetworkError(
            f"network {network.file}: the scores must depend on all of its parameters: {first_line(error)}"
        ) from error
    return max(1.0, counter.get_total_flops() / IMAGES)


@cache
def _load(network: NetworkFile) -> Callable[..., Any]:
    """The file's `build`. Its module is registered, as an import would do."""
    name = f"own_network_{str(network).rpartition(' ')[2]}"
    module = ModuleType(name)
    module.__file__ = network.file
    sys.modules[name] = module
    linecache.cache[network.file] = len(network.code), None, network.code.splitlines(keepends=True), network.file
    try:
        with torch.random.fork_rng(devices=[]):
            exec(compile(network.code, network.file, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise NetworkError(f"network {network.file}: {_cause(network, error)}") from error
    build = getattr(module, "build", None)
    if not callable(build):
        raise NetworkError(f"network {network.file}: must define a function build, which returns the network")
    for name, parameter in inspect.signature(build).parameters.items():
        if parameter.default is not parameter.empty:  # a default and its value would be one training under two keys
            raise NetworkError(
                f"network {network.file}: build({name}={parameter.default!r}): remove the default, and give the value "
                "in network_arguments, where the record shows it"
            )
    return build


def _cause(network: NetworkFile, error: BaseException) -> str:
    """The error, with the line of the file that led to it where there is one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == network.file]
    line = f"line {frames[-1].lineno}: " if frames else ""
    return f"{line}{type(error).__name__}: {first_line(error)}"


def _contiguous(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.contiguous() for tensor in inputs)
