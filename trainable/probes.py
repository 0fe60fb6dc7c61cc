"""Probes of how smooth the loss is along the gradient.

The method is that of Santurkar et al. 2018 (arXiv 1805.11604), section 3.2 and appendix A.

A probe is taken at a training step with parameters theta and gradient g. For several step sizes eta it measures, on the
same mini-batch:

- the loss L(theta - eta g),
- gradient predictiveness, the distance |grad L(theta - eta g) - g|,
- effective beta-smoothness, that distance divided by |eta g|. The paper reports its maximum over eta.

The paper trains with plain SGD. With Adam the training does not step along the gradient, so results from Adam have to
be labelled.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from trainable.graphs import Step
from trainable.measures import STEP_SIZES

QUANTITIES = ("loss", "predictiveness", "smoothness")
"""What a probe measures at each step size."""


@torch.no_grad()
def probe(
    step: Step,
    inputs: Sequence[Tensor],
    gradients: Sequence[Tensor],
    parameters: Sequence[Tensor],
    buffers: Iterable[Tensor],
    learning_rate: float,
    seeds: int,
    random_state: Sequence[Tensor],
) -> Tensor:
    """Probe the loss at all `STEP_SIZES`. Returns float32 (S, E, M) on the CPU: seed, step size, one of `QUANTITIES`.

    `step` maps a mini-batch (`inputs`) to each seed's loss and the parameters' gradients, which its next call may
    overwrite; `gradients` are copies of those at the present parameters. `random_state` is that of `get_random_state`
    from before they were computed, so that dropout drops the same values in every step. Parameters, buffers (the
    running statistics) and random generators are left exactly as they were, so that a probe changes nothing in the
    training.
    """
    buffers = list(buffers)
    saved = [(tensor, tensor.clone()) for tensor in (*parameters, *buffers)]
    origin, gradient_sp = [value for _, value in saved[: len(parameters)]], _rows_by_seed(gradients, seeds)
    measured_sm = []
    device = gradient_sp.device
    with torch.random.fork_rng(devices=[device] if gradient_sp.is_cuda else []):
        for step_size in STEP_SIZES:
            eta = step_size * learning_rate
            for parameter, start, gradient in zip(parameters, origin, gradients, strict=True):
                parameter.copy_(start - eta * gradient)
            set_random_state(device, random_state)
            with torch.enable_grad():
                losses_s, *new_gradients = step(*inputs)
            distance_s = (_rows_by_seed(new_gradients, seeds) - gradient_sp).norm(dim=1)
            smoothness_s = distance_s / (eta * gradient_sp.norm(dim=1))
            measured_sm.append(torch.stack([losses_s, distance_s, smoothness_s], 1))
    for tensor, value in saved:
        tensor.copy_(value)
    return torch.stack(measured_sm, 1).float().cpu()


def get_random_state(device: torch.device) -> list[Tensor]:
    """The states of the generators that a step on a device may draw from: the CPU's, and the device's own."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(device: torch.device, states: Sequence[Tensor]) -> None:
    """Bring these generators into those states."""
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)


def _rows_by_seed(gradients: Sequence[Tensor], seeds: int) -> Tensor:
    """All gradients as (S, P). A fused network's gradients hold the seeds side by side in the first dimension."""
    return torch.cat([gradient.reshape(seeds, -1) for gradient in gradients], 1)
