"""Losses, optimizers and schedules by their names in a config."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from trainable.config import Config


def make_loss(config: Config) -> nn.Module:
    """The loss of each image: class scores (N, 10) against labels (N,) to (N,)."""
    if config.loss == "hinge":
        return nn.MultiMarginLoss(reduction="none")
    return nn.CrossEntropyLoss(reduction="none", label_smoothing=config.label_smoothing)


def make_optimizer(config: Config, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer; every one but `adamw` couples its weight decay (adds L2 to the gradient)."""
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


def make_scheduler(config: Config, optimizer: Optimizer, steps: int) -> LRScheduler | None:
    """The schedule over that many steps; None where the learning rate is constant."""
    match config.schedule:
        case "constant":
            return None
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=steps)
        case "one_cycle":
            cycle = config.optimizer in ("adam", "adamw")  # the others keep the momentum of their config, if any
            return OneCycleLR(optimizer, max_lr=config.lr, total_steps=steps, cycle_momentum=cycle)
