"""A learning-rate schedule of one's own: a function from the share of the steps that is done to what the learning rate
is multiplied by."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import OwnCodeError, call_own


def build_schedule(file: CodeFile, arguments: Mapping[str, Any], optimizer: Optimizer, steps: int) -> LambdaLR:
    """The schedule over a training of that many steps."""
    return LambdaLR(optimizer, lambda step: factor(file, arguments, step / steps))


def factor(file: CodeFile, arguments: Mapping[str, Any], done: float) -> float:
    """What the learning rate is multiplied by when that share of the steps, 0 to 1, is done. Raises `OwnCodeError`
    where the file or its function fails, or returns something else."""
    found = call_own("schedule", file, arguments, done)
    if isinstance(found, bool) or not isinstance(found, int | float) or not isfinite(found) or found < 0:
        allowed = "a finite number from 0 on"
        raise OwnCodeError.of("schedule", file, f"at {done:g} it must return {allowed}, and returned {found!r}")
    return float(found)
