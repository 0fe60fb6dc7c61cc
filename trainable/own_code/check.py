"""Tries the code of one's own that a config names, before anything is started."""

import io
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Split
from trainable.device import autocast
from trainable.model import build
from trainable.optim import make_optimizer, parameter_groups, take_step
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import SEED, OwnCodeError, images_to_try, problems_of, tried
from trainable.own_code.loss import OwnLoss
from trainable.own_code.network import forward_flops
from trainable.own_code.schedule import factor
from trainable.own_code.training import OwnLearner

IMAGES = 4
"""Images of the batch on which a loss is tried, two of each class."""
FEW_OF_A_CLASS = 4
"""Images of each class on which a training is tried."""
TIMES = 100
"""Points of a training, beside its start, at which a schedule is tried."""


@cache
def check_own_code(config: Config) -> None:
    """Try the parts of a config that are files of one's own, on the CPU. Raises `OwnCodeError` for the first that
    cannot be used."""
    if isinstance(config.network, CodeFile):
        forward_flops(config.network, config.network_arguments, config.data)
    if isinstance(config.loss, CodeFile):
        _check_loss(config, config.loss)
    if isinstance(config.optimizer, CodeFile):
        _check_optimizer(config, config.optimizer)
    if isinstance(config.schedule, CodeFile):
        _check_schedule(config.schedule, config.schedule_arguments)
    if isinstance(config.training, CodeFile):
        _check_training(config, config.training)


def _check_loss(config: Config, file: CodeFile) -> None:
    first_n1, second_n1 = _losses(config, file), _losses(config, file)
    if not first_n1.isfinite().all():
        raise OwnCodeError.of("loss", file, f"its losses must be finite, and are {first_n1.flatten().tolist()}")
    if not torch.allclose(first_n1, second_n1, rtol=1e-3, atol=1e-4):
        raise OwnCodeError.of(
            "loss", file, "tried again, it gives other losses: draw random numbers with torch alone, and keep nothing"
        )


def _losses(config: Config, file: CodeFile) -> Tensor:
    """The losses (N, 1) of a new network, which depend on its parameters."""
    images_nchw = images_to_try(IMAGES, config.data.size)
    labels_n1 = torch.arange(IMAGES)[:, None] // 2
    with tried():
        network = build(config).train()
        loss = OwnLoss(file, config.loss_arguments, network, autocast(config, torch.device("cpu")))
        losses_n1 = loss(images_nchw, labels_n1)
        gradients: tuple[Tensor | None, ...] = ()
        if losses_n1.requires_grad:
            with problems_of("loss", file, "its gradients: "):
                gradients = torch.autograd.grad(losses_n1.sum(), list(network.parameters()), allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise OwnCodeError.of("loss", file, "its losses do not depend on the network's parameters")
    return losses_n1.detach()


def _check_optimizer(config: Config, file: CodeFile) -> None:
    """Take two steps, and the second one again with an optimizer that has loaded what the first one left."""
    with tried():
        network = build(config)
        stepped = make_optimizer(config, parameter_groups(config, network))
        if not all(isinstance(group.get("lr"), float) for group in stepped.param_groups):
            raise OwnCodeError.of("optimizer", file, "each of its groups needs an lr that is a float, for schedules")
        places = [parameter.data_ptr() for parameter in network.parameters()]
        _step(config, network, stepped)
        if places != [parameter.data_ptr() for parameter in network.parameters()]:
            raise OwnCodeError.of("optimizer", file, "its step must change the parameters in place, as with `add_`")
        saved, copied = io.BytesIO(), deepcopy(network)
        with problems_of("optimizer", file, "its state must be tensors, numbers and texts: "):
            torch.save(stepped.state_dict(), saved)
            saved.seek(0)
            resumed = make_optimizer(config, parameter_groups(config, copied))
            resumed.load_state_dict(torch.load(saved, weights_only=True))
    for each, its in ((network, stepped), (copied, resumed)):
        with tried():
            _step(config, each, its)
    pairs = zip(network.parameters(), copied.parameters(), strict=True)
    if not all(torch.allclose(parameter, other, equal_nan=True) for parameter, other in pairs):
        raise OwnCodeError.of(
            "optimizer",
            file,
            "with its state saved and loaded, it takes another step: keep in `state` what a step needs, and draw "
            "random numbers with torch alone",
        )


def _step(config: Config, network: nn.Module, optimizer: Optimizer) -> None:
    """Take a step down the sum of the parameters' squares."""

    def gradients() -> float:
        for parameter in network.parameters():
            parameter.grad = 2 * parameter.detach()
        return sum(parameter.detach().square().sum().item() for parameter in network.parameters())

    gradients()
    take_step(config, optimizer, gradients)


def _check_schedule(file: CodeFile, arguments: Mapping[str, Any]) -> None:
    with tried():
        first, second = ([factor(file, arguments, time / TIMES) for time in range(TIMES + 1)] for _ in range(2))
    if first != second:
        raise OwnCodeError.of(
            "schedule", file, "tried again, it returns other numbers: draw no random numbers, and keep nothing"
        )


def _check_training(config: Config, file: CodeFile) -> None:
    """Train for an epoch on a few images, and predict, twice: the second time with what the first one saved."""
    batches = Batches(_few_images(config), config, torch.device("cpu"))
    with tried():
        first = OwnLearner(config, SEED, batches, torch.device("cpu"))
        first.train(1)
        first_nk, _ = first.class_probabilities(batches)
        again = OwnLearner(config, SEED, batches, torch.device("cpu"))
        if first.can_be_saved:
            saved = io.BytesIO()
            with problems_of("training", file, "its state must be tensors, numbers, texts and bytes: "):
                torch.save(first.state_dict(), saved)
                saved.seek(0)
                state = torch.load(saved, weights_only=True)
            again.load_state_dict(state)
        else:
            again.train(1)
        again_nk, _ = again.class_probabilities(batches)
    if not torch.allclose(first_nk, again_nk, rtol=1e-3, atol=1e-4):
        what = "with its state saved and loaded" if first.can_be_saved else "tried again"
        raise OwnCodeError.of(
            "training", file, f"{what}, it predicts something else: draw random numbers with torch or from the seed"
        )


def _few_images(config: Config) -> Split:
    """Some images of each class, as a train split has them."""
    classes = len(config.data.classes)
    labels = np.arange(FEW_OF_A_CLASS * classes, dtype=np.int64) % classes
    images = np.random.default_rng(SEED).integers(0, 256, (len(labels), config.data.size, config.data.size, 3))
    return Split(images.astype(np.uint8), labels.astype(np.uint8), np.arange(len(labels)))
