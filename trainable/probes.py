"""How smooth the loss is along the gradient, measured while training (Santurkar et al. 2018, arXiv 1805.11604, section
3.2 and appendix A): at a step with gradient g, over step sizes eta along -g, on the same mini-batch,

- the loss L(theta - eta g),
- gradient predictiveness: the distance |grad L(theta - eta g) - g|,
- effective beta-smoothness: that distance over |eta g|; its maximum over eta is the paper's.

The paper trains with plain SGD. With Adam the gradient is not the step that is taken: that arm has to be labelled.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from trainable.measures import STEP_SIZES

MEASURED = ("loss", "predictiveness", "smoothness")

Step = Callable[..., tuple[Tensor, ...]]


@torch.no_grad()
def probe(
    step: Step,
    inputs: Sequence[Tensor],
    gradients: Sequence[Tensor],
    parameters: Sequence[Tensor],
    buffers: Iterable[Tensor],
    learning_rate: float,
    seeds: int,
) -> Tensor:
    """Measure at the step sizes: (seeds, step sizes, `MEASURED`), on the CPU.

    `step` maps a mini-batch to each seed's loss and the parameters' gradients, as the training's own step does.
    Parameters, buffers (the running statistics) and random numbers are left exactly as they were.
    """
    buffers = list(buffers)
    kept = [(tensor, tensor.clone()) for tensor in (*parameters, *buffers)]
    origin, own = [tensor.clone() for tensor in parameters], _by_seed(gradients, seeds)
    measured = []
    with torch.random.fork_rng(devices=[own.device] if own.is_cuda else []):
        for times in STEP_SIZES:
            eta = times * learning_rate
            for parameter, start, gradient in zip(parameters, origin, gradients, strict=True):
                parameter.copy_(start - eta * gradient)
            with torch.enable_grad():
                losses_s, *moved = step(*inputs)
            distance_s = (_by_seed(moved, seeds) - own).norm(dim=1)
            measured.append(torch.stack([losses_s, distance_s, distance_s / (eta * own.norm(dim=1))], 1))
    for tensor, value in kept:
        tensor.copy_(value)
    return torch.stack(measured, 1).float().cpu()


def _by_seed(gradients: Sequence[Tensor], seeds: int) -> Tensor:
    """All gradients of each seed as one row (seeds, parameters): fused networks are joined in the first dimension."""
    return torch.cat([gradient.unflatten(0, (seeds, -1)).flatten(1) for gradient in gradients], 1)
