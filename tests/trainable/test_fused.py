"""Seeds fused into one program compute what each computes alone."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from tests.configs import EVERYTHING, SMALL, few
from trainable.batches import EVALUATION_BATCH_SIZE, Batches
from trainable.config import Config
from trainable.data import Dataset
from trainable.evaluate import class_probabilities, correct_images
from trainable.fused import fuse, separate
from trainable.model import build
from trainable.training import Trainer
from trainable.trial import Epoch


def test_fused_networks_are_their_networks() -> None:
    """Scores, gradients and running statistics of a fused network against each network alone."""
    torch.manual_seed(0)
    alone = [build(Config(batch_norm=True)).double() for _ in range(3)]
    images = torch.randn(3, 16, 3, 32, 32, dtype=torch.float64)
    fused = fuse(alone).double()
    scores = fused(images.transpose(0, 1).flatten(1, 2)).unflatten(1, (3, 10))
    scores.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in fused.named_parameters()}
    for index, (model, state) in enumerate(zip(alone, separate(fused.state_dict(), 3), strict=True)):
        scores_alone = model(images[index])
        scores_alone.square().sum().backward()
        assert torch.allclose(scores_alone, scores[:, index], rtol=1e-9)
        for name, parameter in model.named_parameters():
            assert torch.allclose(parameter.grad, separate(gradients, 3)[index][name], rtol=1e-9, atol=1e-9)
        for name, tensor in model.state_dict().items():
            assert torch.allclose(tensor, state[name], rtol=1e-9), name


class Doubled(nn.Conv2d):
    """A convolution of somebody's own, which says itself how to fuse it."""

    def forward(self, features_nchw: Tensor) -> Tensor:
        return 2 * super().forward(features_nchw)

    def widen(self, seeds: int) -> nn.Module:
        return Doubled(seeds * self.in_channels, seeds * self.out_channels, 3, groups=seeds)


def test_a_layer_of_ones_own_is_fused_as_it_says() -> None:
    alone = [nn.Sequential(Doubled(3, 4, 3)) for _ in range(2)]
    images = torch.randn(5, 3, 8, 8)
    expected = torch.cat([network(images) for network in alone], 1)
    assert torch.allclose(fuse(alone)(images.repeat(1, 2, 1, 1)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda: nn.Conv2d(3, 4, 3, stride=2), r"Conv2d layer with stride \(2, 2\); expected \(1, 1\)"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="circular"), "Conv2d layer with padding_mode circular"),
        (lambda: nn.BatchNorm2d(3, affine=False), "BatchNorm2d layer with affine False; expected True"),
        (lambda: nn.LazyLinear(3), "nothing says how to fuse a LazyLinear layer"),
    ],
)
def test_a_layer_that_would_be_another_one_fused_is_refused(layer: Callable[[], nn.Module], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        fuse([nn.Sequential(layer()) for _ in range(2)])


def test_batch_norms_epsilon_stays() -> None:
    alone = [nn.Sequential(nn.BatchNorm2d(3, eps=0.1)) for _ in range(2)]
    images = torch.randn(5, 3, 8, 8)
    assert torch.allclose(fuse(alone)(images.repeat(1, 2, 1, 1))[:, :3], alone[0](images), atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "momentum", "flip": True, "shift": 2, "loss": "hinge"},
        {"optimizer": "momentum", "nesterov": True, "weight_decay": 0.1, "decay_norm_and_bias": False, "flip": True,
         "flip_mode": "alternating", "cutout": 8, "ema_decay": 0.8},
        {"optimizer": "muon", "weight_decay": 0.1},
    ],
)  # fmt: skip
def test_fused_training_is_the_serial_one_to_rounding(digits: Dataset, change: dict) -> None:
    config = Config(**SMALL, lr=1e-3, batch_size=96, **change)
    serial, fused = (Trainer(config, few(digits), (0, 4, 9), fused=together) for together in (False, True))
    serial.run_epoch()
    fused.run_epoch()
    for seed, losses in serial.step_losses().items():
        assert torch.allclose(losses, fused.step_losses()[seed], rtol=1e-5), seed
    for name, tensor in serial.weights().items():
        assert torch.allclose(tensor, fused.weights()[name], atol=1e-4), name


def test_fusing_leaves_the_callers_generator_alone() -> None:
    networks = [build(Config(**SMALL)) for _ in range(2)]
    before = torch.get_rng_state()
    fuse(networks)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_evaluation_takes_as_much_memory_for_eight_seeds_as_for_one(digits: Dataset) -> None:
    config = Config(**SMALL, batch_norm=True)
    alone = [build(config).eval() for _ in range(8)]
    fused, batches = fuse(alone).eval(), Batches(digits.test, config, torch.device("cpu"))
    shapes: list[torch.Size] = []
    fused[0].register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
    correct = correct_images(fused, batches, 8)
    assert sum(images for images, *_ in shapes) == len(digits.test)
    assert max(images for images, *_ in shapes) <= EVALUATION_BATCH_SIZE["cpu"]["fp32"] / 8
    assert {channels for _, channels, *_ in shapes} == {3}, "the images are not copied for each seed"
    assert torch.equal(correct, torch.cat([correct_images(each, batches, 1) for each in alone], 1))
    expected = [class_probabilities(each, batches, 1) for each in alone]
    for kind, probabilities in enumerate(class_probabilities(fused, batches, 8)):
        assert torch.allclose(probabilities, torch.cat([each[kind] for each in expected], 1), atol=1e-6)


def test_fused_training_has_the_serial_ones_distribution(digits: Dataset) -> None:
    """With dropout the two draw other masks: compare the final errors of many seeds."""
    seeds = tuple(range(8))
    config = Config(**SMALL, batch_norm=True, dropout=0.1, epochs=2, batch_size=32)
    errors = []
    for together in (False, True):
        *_, last = _epochs(Trainer(config, few(digits), seeds, fused=together))
        errors.append(last.metrics["test_error"])
    assert stats.ttest_ind(*errors).pvalue > 0.001
    assert stats.ks_2samp(*errors).pvalue > 0.001
    assert max(map(np.mean, errors)) < 0.8  # it has learnt: an untrained network errs nine times in ten


def test_a_fused_training_resumes(digits: Dataset) -> None:
    config, data = EVERYTHING.change(dropout=0.0, epochs=2, ema_decay=0.9), few(digits)
    whole, half = (Trainer(config, data, (1, 2), fused=True) for _ in range(2))
    half.run_epoch()
    resumed = Trainer(config, data, (1, 2), fused=True)
    resumed.load_state_dict(half.state_dict())
    metrics = [[epoch.metrics for epoch in _epochs(trainer)] for trainer in (whole, resumed)]
    assert metrics[0][1:] == metrics[1]
    with pytest.raises(ValueError, match="the checkpoint is of"):
        Trainer(config, data, (1, 2), fused=False).load_state_dict(half.state_dict())


def _epochs(trainer: Trainer) -> Iterator[Epoch]:
    while not trainer.done:
        yield trainer.run_epoch()
