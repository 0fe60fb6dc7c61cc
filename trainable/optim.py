"""The losses, optimizers and learning-rate schedules that a config names."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, assert_never

import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR
from torch.optim.optimizer import ParamsT

from trainable.config import Config
from trainable.muon import Muon
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import problems_of
from trainable.own_code.optimizer import build_optimizer
from trainable.own_code.schedule import build_schedule


def make_loss(config: Config) -> nn.Module:
    """The config's loss without reduction: from class scores (N, K) and labels (N,) to each image's loss (N,). Raises
    `TypeError` for a loss of one's own, which needs more than scores: see `trainable.own_code.loss`."""
    match config.loss:
        case "cross_entropy":
            return nn.CrossEntropyLoss(reduction="none", label_smoothing=config.label_smoothing)
        case "hinge":
            return nn.MultiMarginLoss(reduction="none")
        case CodeFile():
            raise TypeError(f"loss {config.loss} is no function of scores")
        case unknown:
            assert_never(unknown)


def parameter_groups(config: Config, model: nn.Module) -> list[dict[str, Any]]:
    """The network's parameters in groups of the same learning rate and weight decay, as `make_optimizer` takes them.

    There is one group with all parameters, unless the config sets some parameters apart. Fused networks have the same
    groups: their parameters have as many dimensions as those of a single network.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen:  # modules share it
                continue
            seen.add(parameter)
            is_bn_bias = name == "bias" and isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
            is_decayed = config.decay_norm_and_bias or parameter.ndim >= 2
            lr = config.lr * config.bn_bias_lr_factor if is_bn_bias else config.lr
            groups.setdefault((lr, config.weight_decay if is_decayed else 0.0), []).append(parameter)
    return [{"params": group, "lr": lr, "weight_decay": decay} for (lr, decay), group in groups.items()]


def make_optimizer(
    config: Config, parameters: ParamsT, device: str | torch.device = "cpu", seeds: int = 1
) -> Optimizer:
    """The config's optimizer for parameters on the device, which are those of one network or of that many fused seeds.

    `adamw` and `muon` decouple the weight decay; the others add it to the gradient (L2). Raises `OwnCodeError` for one
    of one's own that cannot be built.
    """
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
    match config.optimizer:
        case "adam":
            return Adam(parameters, **common)
        case "adamw":
            return AdamW(parameters, **common)
        case "sgd":
            return SGD(parameters, **common)
        case "momentum":
            return SGD(parameters, momentum=config.momentum, nesterov=config.nesterov, **common)
        case "muon":
            return Muon(parameters, lr=config.lr, weight_decay=config.weight_decay, seeds=seeds)
        case "adagrad":
            fused = _has_fused_adagrad(device)  # None and not False: with False, torch updates each parameter by itself
            return Adagrad(parameters, **common | {"fused": fused or None})
        case CodeFile() as file:
            return build_optimizer(file, config.optimizer_arguments, parameters, config.lr, config.weight_decay)
        case unknown:
            assert_never(unknown)


def take_step(config: Config, optimizer: Optimizer, again: Callable[[], float]) -> None:
    """Let the config's optimizer take its step. Where its `step` needs a closure, as that of L-BFGS does, it gets
    `again`, which computes the loss and the gradients of the batch once more. Raises `OwnCodeError` where the step of
    one of one's own fails."""
    if not isinstance(config.optimizer, CodeFile):
        optimizer.step()
        return
    with problems_of("optimizer", config.optimizer, "its step: "):
        if _needs_closure(type(optimizer).step):
            optimizer.step(torch.enable_grad()(again))
        else:
            optimizer.step()


@cache
def _needs_closure(step: Callable[..., object]) -> bool:
    closure = inspect.signature(step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _has_fused_adagrad(device: str | torch.device) -> bool:
    """Whether this torch has a fused Adagrad for a device: that for CUDA came after torch 2.11. Only trying a step
    shows it."""
    parameter = nn.Parameter(torch.zeros(1, device=device))
    parameter.grad = torch.zeros_like(parameter)
    try:
        Adagrad([parameter], fused=True).step()
    except RuntimeError:
        return False
    return True


def make_scheduler(config: Config, optimizer: Optimizer, steps: int) -> LRScheduler | None:
    """The config's learning-rate schedule over a training of that many steps; None for a constant learning rate."""
    match config.schedule:
        case "constant":
            return None
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=steps)
        case "one_cycle":
            divides_by_zero = config.warmup * steps == 1  # OneCycleLR does so where it rises for exactly one step
            return OneCycleLR(
                optimizer,
                max_lr=[group["lr"] for group in optimizer.param_groups],
                total_steps=steps,
                pct_start=config.warmup - 1e-12 if divides_by_zero else config.warmup,
                cycle_momentum=_one_cycle_cycles_momentum(config),
            )
        case CodeFile() as file:
            return build_schedule(file, config.schedule_arguments, optimizer, steps)
        case unknown:
            assert_never(unknown)


def _one_cycle_cycles_momentum(config: Config) -> bool:
    """Whether the one-cycle schedule varies the momentum (Adam's beta1) opposite to the learning rate."""
    match config.optimizer:
        case "adam" | "adamw":
            return True
        case "sgd" | "momentum" | "adagrad" | "muon":  # no momentum, or a constant one
            return False
        case CodeFile():
            return False
        case unknown:
            assert_never(unknown)
