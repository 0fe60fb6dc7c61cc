"""Tune asks Ray's store once for the class of all trials of a stage."""

import pytest
from ray import tune
from ray.tune import registry

from sweeps.running.trainable_registry import remembered_trainables


class Trained(tune.Trainable):
    """A class that trials may have."""


def test_tune_fetches_a_class_once_and_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched, get = list[str](), registry._Registry.get

    def counted(self: registry._Registry, category: str, key: str) -> object:
        fetched.append(key)
        return get(self, category, key)

    monkeypatch.setattr(registry._Registry, "get", counted)
    tune.register_trainable("trained", Trained)
    with remembered_trainables():
        assert {registry.get_trainable_cls("trained") for _ in range(5)} == {Trained}
        assert len(fetched) == 1
    registry.get_trainable_cls("trained")
    registry.get_trainable_cls("trained")
    assert len(fetched) == 3
