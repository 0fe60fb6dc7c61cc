"""A config is validated, and its key is the identity of what it computes."""

import pytest
from pydantic import ValidationError

from trainable.config import Config
from trainable.model import build


@pytest.mark.parametrize(
    ("change", "parameters"),
    [
        ({}, 285_162),
        ({"channels": (4, 8), "hidden": (32, 32)}, 18_210),
        ({"channels": (64, 128), "hidden": (512, 512)}, 4_538_250),
        ({"batch_norm": True}, 285_770),
        ({"channels": (64, 128), "hidden": (512, 512), "batch_norm": True}, 4_540_682),
        ({"network": "vgg-a"}, 9_750_922),
        ({"network": "vgg-a", "batch_norm": True}, 9_758_474),
    ],
)
def test_networks_have_the_published_parameter_counts(change: dict, parameters: int) -> None:
    model = build(Config(**change))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_key_follows_the_config_and_the_data() -> None:
    baseline = Config()
    assert baseline.key("data") == Config(lr=0.001, channels=[16, 32]).key("data")
    assert baseline.key("data") != baseline.key("other data")
    others = [{"lr": 0.002}, {"protocol": "B"}, {"epochs": 21}, {"precision": "bf16"}, {"dropout": 0.2}]
    assert len({baseline.key("data"), *(Config(**change).key("data") for change in others)}) == 6


def test_key_is_stable_across_versions_of_the_code() -> None:
    """Keys are in the records of users: this one may change only with the training recipe."""
    assert Config(batch_norm=True, lr=0.01).key("0123456789abcdef") == "1c2303da5a0372d0"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optimizer": "adamm"}, "optimizer"),
        ({"dropout": 1.0}, "dropout"),
        ({"epochs": 0}, "epochs"),
        ({"lr": float("nan")}, "lr"),
        ({"channels": (16,)}, "channels"),
        ({"chanels": (16, 32)}, "chanels"),
        ({"bn_momentum": 0.2}, "batch_norm is true"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "loss is cross_entropy"),
        ({"network": "vgg-a", "hidden": (64, 64)}, "network is cnn"),
    ],
)
def test_bad_fields_are_refused_by_name(change: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Config(**change)


def test_configs_are_frozen_and_hashable() -> None:
    with pytest.raises(ValidationError):
        Config().lr = 1.0  # type: ignore[misc]
    assert len({Config(), Config(), Config(lr=0.1)}) == 2
