"""Losses, optimizers and schedules by their names in a config."""

from collections.abc import Iterable
from typing import Any, assert_never

from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from trainable.config import Config


def make_loss(config: Config) -> nn.Module:
    """The loss of every image by itself: from class scores (N, 10) and labels (N,) to losses (N,)."""
    match config.loss:
        case "cross_entropy":
            return nn.CrossEntropyLoss(reduction="none", label_smoothing=config.label_smoothing)
        case "hinge":
            return nn.MultiMarginLoss(reduction="none")
        case unknown:
            assert_never(unknown)


def make_optimizer(config: Config, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The config's optimizer. All but `adamw` add the weight decay to the gradient (L2)."""
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
    """The config's learning-rate schedule over that many steps; None where the rate is constant."""
    match config.schedule:
        case "constant":
            return None
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=steps)
        case "one_cycle":
            cycle = config.optimizer in ("adam", "adamw")  # the others keep the momentum of their config, if any
            return OneCycleLR(optimizer, max_lr=config.lr, total_steps=steps, cycle_momentum=cycle)
        case unknown:
            assert_never(unknown)
