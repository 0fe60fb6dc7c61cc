"""The losses, optimizers and learning-rate schedules that a config names."""

from collections.abc import Iterable
from typing import Any, assert_never

from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from trainable.config import Config


def make_loss(config: Config) -> nn.Module:
    """The config's loss without reduction: from class scores (N, 10) and labels (N,) to each image's loss (N,)."""
    match config.loss:
        case "cross_entropy":
            return nn.CrossEntropyLoss(reduction="none", label_smoothing=config.label_smoothing)
        case "hinge":
            return nn.MultiMarginLoss(reduction="none")
        case unknown:
            assert_never(unknown)


def make_optimizer(config: Config, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The config's optimizer. `adamw` decouples the weight decay; the others add it to the gradient (L2)."""
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
    match config.optimizer:
        case "adam":
            return Adam(parameters, **common)
        case "adamw":
            return AdamW(parameters, **common)
        case "sgd":
            return SGD(parameters, **common)
        case "momentum":
            return SGD(parameters, momentum=config.momentum, **common)
        case "adagrad":
            return Adagrad(parameters, **common)
        case unknown:
            assert_never(unknown)


def make_scheduler(config: Config, optimizer: Optimizer, steps: int) -> LRScheduler | None:
    """The config's learning-rate schedule over a training of that many steps; None for a constant learning rate."""
    match config.schedule:
        case "constant":
            return None
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=steps)
        case "one_cycle":
            cycle_momentum = _one_cycle_cycles_momentum(config)
            return OneCycleLR(optimizer, max_lr=config.lr, total_steps=steps, cycle_momentum=cycle_momentum)
        case unknown:
            assert_never(unknown)


def _one_cycle_cycles_momentum(config: Config) -> bool:
    """Whether the one-cycle schedule varies the momentum (Adam's beta1) opposite to the learning rate."""
    match config.optimizer:
        case "adam" | "adamw":
            return True
        case "sgd" | "momentum" | "adagrad":  # no momentum, or the constant one that the config sets
            return False
        case unknown:
            assert_never(unknown)
