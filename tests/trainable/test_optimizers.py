"""Optimizers, what they do to which parameters, and schedules compute what the config says."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from trainable import optim
from trainable.config import Config
from trainable.fused import fuse
from trainable.model import build
from trainable.optim import make_optimizer, make_scheduler, parameter_groups


def test_weight_decay_is_coupled_but_for_adamw() -> None:
    def moved(optimizer: str) -> float:
        parameter = nn.Parameter(torch.tensor([10.0]))
        engine = make_optimizer(Config(optimizer=optimizer, lr=0.1, weight_decay=0.5), [parameter])
        parameter.grad = torch.zeros(1)
        engine.step()
        return 10.0 - parameter.item()

    assert moved("sgd") == pytest.approx(0.1 * 0.5 * 10)
    assert moved("adam") == pytest.approx(0.1, rel=1e-3)  # the penalty is in the gradient: one normalised step
    assert moved("adamw") == pytest.approx(0.1 * 0.5 * 10)  # the penalty alone


@pytest.mark.parametrize("fused", [True, False])
def test_adagrad_is_fused_where_this_torch_can(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Adagrad(torch.optim.Adagrad):
        """On a GPU and before torch 2.12, a fused one refuses its first step."""

        def step(self, closure: None = None) -> None:
            if not fused and self.defaults["fused"]:
                raise RuntimeError("`fused=True` requires all the params to be floating point Tensors of ...")
            super().step(closure)

    monkeypatch.setattr(optim, "Adagrad", Adagrad)
    parameter = nn.Parameter(torch.tensor([10.0]))
    engine = make_optimizer(Config(optimizer="adagrad", lr=0.1), [parameter])
    parameter.grad = torch.ones(1)
    engine.step()
    assert parameter.item() == pytest.approx(9.9)
    assert engine.defaults["fused"] is (True if fused else None)


@pytest.mark.parametrize("seeds", [1, 2])
def test_weight_decay_can_leave_norm_and_bias(seeds: int) -> None:
    config = Config(batch_norm=True, optimizer="adamw", lr=0.1, weight_decay=0.5, decay_norm_and_bias=False)
    model = fuse([build(config) for _ in range(seeds)])
    before = _step(config, model, gradient=0.0)
    for name, parameter in model.named_parameters():
        is_decayed = name.endswith("weight") and not name.startswith("norm")
        assert torch.allclose(parameter, before[name] * (1 - 0.1 * 0.5 if is_decayed else 1.0)), name


@pytest.mark.parametrize("seeds", [1, 2])
def test_biases_of_batch_norm_can_learn_faster(seeds: int) -> None:
    config = Config(batch_norm=True, optimizer="sgd", lr=0.1, bn_bias_lr_factor=4)
    model = fuse([build(config) for _ in range(seeds)])
    before = _step(config, model, gradient=1.0)
    for name, parameter in model.named_parameters():
        rate = 0.4 if name.startswith("norm") and name.endswith("bias") else 0.1
        assert torch.allclose(before[name] - parameter, torch.tensor(rate), atol=1e-6), name


def _step(config: Config, model: nn.Module, gradient: float) -> dict[str, torch.Tensor]:
    """Step once with the same gradient for all parameters; returns these as they were before."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    make_optimizer(config, parameter_groups(config, model)).step()
    return before


def test_parameters_are_one_group_where_nothing_sets_them_apart() -> None:
    """Checkpoints from before there were groups must fit."""
    config = Config(batch_norm=True, optimizer="adamw", weight_decay=0.1)
    model = build(config)
    ours, plain = (
        make_optimizer(config, parameters) for parameters in (parameter_groups(config, model), model.parameters())
    )
    assert ours.state_dict() == plain.state_dict()
    assert [id(each) for each in ours.param_groups[0]["params"]] == [id(each) for each in model.parameters()]


def test_nesterov_momentum_is_the_papers() -> None:
    """On the loss x**2 / 2, whose gradient is x."""
    parameter = nn.Parameter(torch.tensor([1.0]))
    engine = make_optimizer(Config(optimizer="momentum", nesterov=True, lr=0.1, momentum=0.5), [parameter])
    x, velocity = 1.0, 0.0
    for _ in range(3):
        parameter.grad = parameter.detach().clone()
        engine.step()
        velocity = 0.5 * velocity + x
        x -= 0.1 * (x + 0.5 * velocity)
        assert parameter.item() == pytest.approx(x)


def test_muon_is_torchs_for_matrices_and_adamw_for_vectors() -> None:
    """Torch's Muon computes in bfloat16, so its steps are equal to about 2%."""
    generator = torch.Generator().manual_seed(0)
    matrix, tall, vector = (torch.randn(shape, generator=generator) for shape in ((8, 20), (20, 8), (8,)))
    lr, decay = 0.1, 0.5

    def trained(start: torch.Tensor, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> torch.Tensor:
        parameter = nn.Parameter(start.clone())
        engine, gradients = make([parameter]), torch.Generator().manual_seed(1)
        for _ in range(4):
            parameter.grad = torch.randn(start.shape, generator=gradients)
            engine.step()
        return parameter.detach()

    ours = partial(make_optimizer, Config(optimizer="muon", lr=lr, weight_decay=decay))
    for start in (matrix, tall):
        theirs = trained(start, partial(torch.optim.Muon, lr=lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
        assert (trained(start, ours) - theirs).norm() < 0.02 * (theirs - start).norm()
    theirs = trained(vector, partial(torch.optim.AdamW, lr=lr, weight_decay=decay))
    assert torch.allclose(trained(vector, ours), theirs, atol=1e-6)


def test_muons_steps_are_orthogonal_for_convolutions_and_each_fused_seed() -> None:
    parameter = nn.Parameter(torch.zeros(2 * 6, 4, 3, 3))
    parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    make_optimizer(Config(optimizer="muon", lr=1.0), [parameter], seeds=2).step()
    for step, gradient in zip(parameter.detach().chunk(2), parameter.grad.chunk(2), strict=True):
        left, values, right = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
        assert values.max() > 1.5 * values.min(), "the gradient's own are apart"
        turned = left.T @ -step.flatten(1) @ right.T / (0.2 * 36**0.5)
        assert torch.allclose(turned, turned.diagonal().diag(), atol=1e-4)
        assert turned.diagonal().min() > 0.6 and turned.diagonal().max() < 1.3


@pytest.mark.parametrize(("warmup", "peak"), [(0.3, 29), (0.1, 9), (0.01, 0)])
def test_one_cycle_rises_for_a_share_of_the_steps(warmup: float, peak: int) -> None:
    config = Config(schedule="one_cycle", warmup=warmup, lr=0.1, batch_norm=True, bn_bias_lr_factor=4)
    engine = make_optimizer(config, parameter_groups(config, build(config)))
    scheduler = make_scheduler(config, engine, 100)
    assert scheduler is not None
    rates = []
    for _ in range(100):
        rates.append(scheduler.get_last_lr())
        engine.step()
        scheduler.step()
    for rates_of_group, highest in zip(zip(*rates, strict=True), (0.1, 0.4), strict=True):
        assert int(np.argmax(rates_of_group)) == peak
        assert max(rates_of_group) == pytest.approx(highest)


def test_schedules_span_the_training() -> None:
    rates = {}
    for schedule in ("cosine", "one_cycle"):
        config = Config(schedule=schedule, lr=0.1)
        engine = make_optimizer(config, [nn.Parameter(torch.zeros(1))])
        scheduler = make_scheduler(config, engine, 100)
        assert scheduler is not None
        rates[schedule] = []
        for _ in range(100):
            rates[schedule].append(engine.param_groups[0]["lr"])
            engine.step()
            scheduler.step()
    assert rates["cosine"][0] == pytest.approx(0.1)
    assert rates["cosine"][-1] < 1e-4
    assert max(rates["one_cycle"]) == pytest.approx(0.1)
    assert rates["one_cycle"][0] < 0.01
