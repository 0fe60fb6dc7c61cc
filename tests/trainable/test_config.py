"""A config is validated, and its key is the identity of what it computes."""

import pytest
from pydantic import ValidationError

from tests.conftest import ROOT
from trainable.config import Config
from trainable.fields import page
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


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"batch_norm": True, "lr": 0.01}, "1c2303da5a0372d0"),
        ({}, "5a9827ac6c755b58"),
        ({"optimizer": "momentum", "lr": 0.05, "weight_decay": 5e-4, "schedule": "one_cycle", "flip": True, "shift": 4},
         "ed4807b77352b044"),
        ({"data": "digits", "protocol": "B", "network": "vgg-a", "batch_norm": True, "loss": "hinge",
          "precision": "bf16"}, "d99e1d35b9b895f8"),
    ],
)  # fmt: skip
def test_key_is_stable_across_versions_of_the_code(change: dict, key: str) -> None:
    """Keys are in the records of users: these may change only with the training recipe."""
    assert Config(**change).key("0123456789abcdef") == key


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optimizer": "adamm"}, "optimizer"),
        ({"dropout": 1.0}, "dropout"),
        ({"epochs": 0}, "epochs"),
        ({"lr": float("nan")}, "lr"),
        ({"channels": (16,)}, "channels"),
        ({"channels": (True, 8)}, "channels"),
        ({"chanels": (16, 32)}, "chanels"),
        ({"bn_momentum": 0.2}, "batch_norm is true"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "loss is cross_entropy"),
        ({"network": "vgg-a", "hidden": (64, 64)}, "network is cnn"),
        ({"optimizer": "sgd", "nesterov": True}, "optimizer is momentum"),
        ({"optimizer": "momentum", "momentum": 0, "nesterov": True}, "momentum is above 0"),
        ({"decay_norm_and_bias": False}, "weight_decay is above 0"),
        ({"bn_bias_lr_factor": 8}, "batch_norm is true"),
        ({"batch_norm": True, "bn_bias_lr_factor": 0}, "bn_bias_lr_factor"),
        ({"schedule": "cosine", "warmup": 0.2}, "schedule is one_cycle"),
        ({"schedule": "one_cycle", "warmup": 1}, "warmup"),
        ({"flip_mode": "alternating"}, "flip is true"),
        ({"cutout": 17}, "cutout"),
        ({"ema_decay": 1}, "ema_decay"),
    ],
)
def test_bad_fields_are_refused_by_name(change: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Config(**change)


def test_configs_are_frozen_and_hashable() -> None:
    with pytest.raises(ValidationError):
        Config().lr = 1.0  # type: ignore[misc]
    assert len({Config(), Config(), Config(lr=0.1)}) == 2


def test_the_page_of_fields_is_that_of_this_code() -> None:
    assert (ROOT / "docs" / "fields.md").read_text() == page()
    assert "| `bn_momentum` | `0.1` | a number above 0 up to 1 |" in page()
