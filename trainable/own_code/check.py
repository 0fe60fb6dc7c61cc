"""Tries the code of one's own that a config names, before anything is started."""

import io
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Split
from trainable.device import autocast, is_out_of_memory
from trainable.model import build
from trainable.optim import make_optimizer, parameter_groups, take_step
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import SEED, OwnCodeError, images_to_try, problems_of, tried
from trainable.own_code.loss import OwnLoss
from trainable.own_code.network import forward_flops
from trainable.own_code.schedule import factor
from trainable.own_code.training import OwnLearner

IMAGES = 4
"""Images of the batch on which a loss is tried, two of each class, and of one on which a training predicts."""
TRAIN_IMAGES = 512
"""Images of 32x32 pixels on which a training is tried, about; of larger ones fewer, but two of each class."""
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
        copied = deepcopy(network)
        with problems_of("optimizer", file, "its state: "):
            state = _saved_and_loaded("optimizer", file, stepped.state_dict())
            resumed = make_optimizer(config, parameter_groups(config, copied))
            resumed.load_state_dict(state)
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
    """Train for one or two epochs on a few images, and predict, twice: the second time with what the first one had
    saved after its first epoch, if it can be saved."""
    device, split = torch.device("cpu"), _few_images(config)
    batches = Batches(split, config, device)
    with tried():
        first, again = (OwnLearner(config, SEED, batches, device) for _ in range(2))
        first.train(1)
        if first.can_be_saved:
            again.load_state_dict(_saved_and_loaded("training", file, first.state_dict()))
        else:
            again.train(1)
        if config.epochs > 1:
            first.train(2)
            again.train(2)
        first_nk, again_nk = (learner.class_probabilities(batches)[0] for learner in (first, again))
        few_nk = first.class_probabilities(Batches(replace(split, index=split.index[-IMAGES:]), config, device))[0]
    if not torch.allclose(first_nk, again_nk, rtol=1e-3, atol=1e-4):
        problem = "tried again, it predicts something else: "
        if first.can_be_saved:
            problem = (
                "with its state saved and loaded, it goes on to predict something else: save all that counts, and "
            )
        raise OwnCodeError.of("training", file, f"{problem}draw random numbers with torch, or from seed and epoch")
    if not torch.allclose(first_nk[-IMAGES:], few_nk, rtol=1e-3, atol=1e-4):
        problem = "predict gives an image other probabilities among fewer images: let no image act on another one"
        raise OwnCodeError.of("training", file, f"{problem}, and call eval() of a network")


def _saved_and_loaded(field: str, file: CodeFile, state: Any) -> Any:
    """A state as a checkpoint gives it back. Raises `OwnCodeError` for one that it cannot hold."""
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        buffer.seek(0)
        return torch.load(buffer, weights_only=True)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        allowed = "tensors, numbers, texts, bytes, and lists and dictionaries of these (no NumPy arrays)"
        raise OwnCodeError.of(field, file, f"its state must be {allowed}") from error


def _few_images(config: Config) -> Split:
    """Images of noise, as many of each class, as a train split has them."""
    classes, size = len(config.data.classes), config.data.size
    of_a_class = min(*config.data.train, max(2, TRAIN_IMAGES * 32**2 // size**2 // classes))
    labels = np.tile(np.arange(classes, dtype=np.uint8), of_a_class)
    images = np.random.default_rng(SEED).integers(256, size=(len(labels), size, size, 3), dtype=np.uint8)
    return Split(images, labels, np.arange(len(labels)))
