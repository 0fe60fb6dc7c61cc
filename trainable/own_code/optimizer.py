"""An optimizer of one's own: a function from parameters, their learning rate and their weight decay to an optimizer of
PyTorch."""

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import OwnCodeError, call_own


def build_optimizer(
    file: CodeFile, arguments: Mapping[str, Any], parameters: ParamsT, lr: float, weight_decay: float
) -> Optimizer:
    """The optimizer that the file's `optimizer` returns for parameters, or groups of them with an `lr` and a
    `weight_decay` of their own. Raises `OwnCodeError` where the file or its function fails, or returns something
    else."""
    optimizer = call_own("optimizer", file, arguments, parameters, lr, weight_decay)
    if not isinstance(optimizer, Optimizer):
        found = type(optimizer).__name__
        raise OwnCodeError.of("optimizer", file, f"it must return a torch.optim.Optimizer, and returned {found}")
    return optimizer
