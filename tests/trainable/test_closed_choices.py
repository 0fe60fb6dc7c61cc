"""A value that the code does not know is refused and never treated as another one.

This is what happens to whoever adds a value to a field of `Config` and forgets a place that has to handle it.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from trainable import data
from trainable.architecture import layers, parameters
from trainable.config import Config
from trainable.device import DeviceError
from trainable.fused import fuse
from trainable.image_set import DIGITS
from trainable.model import build
from trainable.optim import make_loss, make_optimizer, make_scheduler
from trainable.training import Trainer
from trainable.trial import Environment
from trainable.usage import environment


def unknown(field: str, **others: Any) -> Config:
    """A config with a value that validation would refuse."""
    return Config.model_construct(**{field: "unheard-of"}, **others)


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))])


@pytest.mark.parametrize(
    "use",
    [
        lambda: list(layers(unknown("network"))),
        lambda: parameters(unknown("network")),
        lambda: build(unknown("network")),
        lambda: build(unknown("activation")),
        lambda: make_loss(unknown("loss")),
        lambda: make_optimizer(unknown("optimizer"), []),
        lambda: make_scheduler(unknown("schedule"), optimizer(), 10),
        lambda: make_scheduler(unknown("optimizer", schedule="one_cycle"), optimizer(), 10),
        lambda: unknown("protocol").held_out,
        lambda: data.load("digits").splits(unknown("protocol").protocol),
        lambda: Trainer(unknown("precision", data=DIGITS, epochs=1), data.load("digits")).run_epoch(),
    ],
)
def test_an_unknown_value_of_a_config_is_refused(use: Callable[[], object]) -> None:
    with pytest.raises((AssertionError, KeyError), match="unheard-of"):
        use()


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(DeviceError, match="meta"):
        Trainer(Config(data="digits"), data.load("digits"), device="meta")
    with pytest.raises(ValueError, match="meta"):
        environment(torch.device("meta"))
    known = environment(torch.device("cpu")).model_dump()
    with pytest.raises(ValidationError, match="'cpu' or 'cuda'"):
        Environment(**known | {"device": "meta"})


def test_a_layer_that_nothing_says_how_to_fuse_is_refused() -> None:
    """Shared by all seeds as it is, it would mix them."""
    with pytest.raises(TypeError, match="GroupNorm"):
        fuse([nn.Sequential(nn.GroupNorm(2, 4)) for _ in range(2)])
