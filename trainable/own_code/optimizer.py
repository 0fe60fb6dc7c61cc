"""An optimizer of one's own: a function from parameters, their learning rate and their weight decay to an optimizer of
PyTorch."""

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
