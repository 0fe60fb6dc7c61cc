"""What a captured step asks of the training around it, shown without a GPU: the real graphs are in `test_gpu`."""

import pytest
import torch
from torch import Tensor

from tests.configs import EVERYTHING
from trainable import learner
from trainable.config import Config
from trainable.data import load
from trainable.graphs import Step
from trainable.measures import STEP_SIZES
from trainable.probes import QUANTITIES
from trainable.training import Trainer


def test_dropout_drops_the_same_in_every_step_of_a_probe() -> None:
    """At next to no learning rate the loss and the gradient are those of the step that is probed."""
    config = Config(data="digits", epochs=1, dropout=0.5, lr=1e-9, channels=(2, 4), hidden=(8, 8), batch_size=512)
    trainer = Trainer(config, load("digits"), (0, 1), fused=True, probe_every=1)
    trainer.run_epoch()
    losses = trainer.step_losses()["seed_1"]
    probed = trainer.probes()["seed_1"]
    assert torch.allclose(probed[:, :, QUANTITIES.index("loss")], losses[:, None], atol=1e-5)
    assert (probed[:, :, QUANTITIES.index("predictiveness")] < 1e-4).all()


class Replayed:
    """A step that returns the same tensors each time, as a replayed graph does."""

    calls = 0

    def __init__(self, step: Step, state: object) -> None:
        self._step = step
        self._outputs: dict[torch.Size, tuple[Tensor, ...]] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        type(self).calls += 1
        new = self._step(*inputs)
        kept = self._outputs.setdefault(inputs[0].shape, tuple(map(torch.empty_like, new)))
        for old, value in zip(kept, new, strict=True):
            old.copy_(value)
        return kept


def test_probes_replay_the_graph_and_the_training_goes_on_from_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = EVERYTHING.change(epochs=1), load("digits")
    plain, expected = (Trainer(config, data, (0, 1), fused=True, probe_every=every) for every in (None, 4))
    monkeypatch.setattr(learner, "GraphedStep", Replayed)
    probed = Trainer(config, data, (0, 1), fused=True, probe_every=4)
    for trainer in (plain, expected, probed):
        trainer.run_epoch()
    for seed, losses in plain.step_losses().items():
        assert torch.equal(losses, probed.step_losses()[seed])
        assert torch.equal(expected.probes()[seed], probed.probes()[seed])
    for name, tensor in plain.weights().items():
        assert torch.equal(tensor, probed.weights()[name]), name
    steps, probes = len(plain.step_losses()["seed_0"]), len(probed.probes()["seed_0"])
    assert Replayed.calls == steps + probes * len(STEP_SIZES)
