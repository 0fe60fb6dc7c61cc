"""A learning-rate schedule of one's own: a function from the share of the steps that is done to what the learning rate
is multiplied by."""

from math import isfinite

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from trainable.config import Config
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import OwnCodeError, call_own

SCHEDULE = "schedule"
"""The field of the config, and the function of the file."""


def build_schedule(config: Config, optimizer: Optimizer, steps: int) -> LambdaLR:
    """The schedule over a training of that many steps."""
    return LambdaLR(optimizer, lambda step: factor(config, step / steps))


def factor(config: Config, done: float) -> float:
    """What the learning rate is multiplied by when that share of the steps, 0 to 1, is done. Raises `OwnCodeError`
    where the file or its function fails, or returns something else."""
    assert isinstance(config.schedule, CodeFile)
    found = call_own(SCHEDULE, config.schedule, config.schedule_arguments, done)
    if isinstance(found, bool) or not isinstance(found, int | float) or not isfinite(found) or found < 0:
        allowed = "a finite number from 0 on"
        raise OwnCodeError(SCHEDULE, config.schedule, f"at {done:g} it must return {allowed}, and returned {found!r}")
    return float(found)
