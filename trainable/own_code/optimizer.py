"""An optimizer of one's own: a function from parameters, their learning rate and their weight decay to an optimizer of
PyTorch."""

import inspect
from collections.abc import Callable
from functools import cache

from torch import enable_grad
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from trainable.config import Config
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import OwnCodeError, call_own

OPTIMIZER = "optimizer"
"""The field of the config, and the function of the file."""


def build_optimizer(config: Config, parameters: ParamsT) -> Optimizer:
    """The optimizer that the file's `optimizer` returns for parameters, or groups of them with an `lr` and a
    `weight_decay` of their own. Raises `OwnCodeError` where the file or its function fails, or returns something
    else."""
    assert isinstance(config.optimizer, CodeFile)
    given = parameters, config.lr, config.weight_decay
    optimizer = call_own(OPTIMIZER, config.optimizer, config.optimizer_arguments, *given)
    if not isinstance(optimizer, Optimizer):
        found = type(optimizer).__name__
        raise OwnCodeError(OPTIMIZER, config.optimizer, f"it must return a torch.optim.Optimizer, and returned {found}")
    return optimizer


def take_step(optimizer: Optimizer, again: Callable[[], float]) -> None:
    """Let an optimizer take its step. Where its `step` needs a closure, as that of L-BFGS does, it gets `again`, which
    computes the loss and the gradients of the batch once more."""
    if _needs_closure(type(optimizer).step):
        optimizer.step(enable_grad()(again))
    else:
        optimizer.step()


@cache
def _needs_closure(step: Callable[..., object]) -> bool:
    closure = inspect.signature(step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty
