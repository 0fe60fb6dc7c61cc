"""Muon: the step of each weight matrix is its gradients' momentum, made orthogonal.

torch's own Muon takes single matrices. This one also takes convolutions, and the joined weights of fused seeds.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

MOMENTUM = 0.95
"""Weight of the earlier gradients in the momentum of a weight matrix."""
BETAS = (0.9, 0.999)
"""Adam's, for the other parameters."""
EPSILON = 1e-8
UPDATE_RMS = 0.2
"""The usual root mean square of AdamW's steps at a learning rate of 1, from Liu et al. 2025. A matrix' steps are scaled
to it."""


class Muon(Optimizer):
    """Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") with Nesterov's momentum.

    A parameter of two or more dimensions is a matrix (outputs, all others); with `seeds`, it is the matrices of that
    many fused networks, joined in the first dimension. Its steps are scaled to be about as large as AdamW's, so that
    learning rates mean the same (Liu et al. 2025, arXiv 2502.16982, section 2.2). Biases and batch norm's parameters
    are trained by AdamW. Both have decoupled weight decay. Unlike in the papers the output layer counts as a matrix,
    and the iteration is computed in float32.
    """

    def __init__(self, params: ParamsT, lr: float, weight_decay: float = 0.0, seeds: int = 1) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self._seeds = seeds

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may take one
        """Update each parameter by its gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                update_of = self._matrix_update if parameter.ndim >= 2 else _adam_update
                update = update_of(self.state[parameter], parameter.grad)
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])

    def _matrix_update(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        matrices_soi = gradient.lerp(momentum, MOMENTUM).flatten(1).unflatten(0, (self._seeds, -1))
        scale = UPDATE_RMS * math.sqrt(max(matrices_soi.shape[1:]))
        return scale * orthogonalised(matrices_soi).reshape(gradient.shape)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices (..., O, I) with the same singular vectors, and with singular values between about .7 and 1.2.

    Five steps of a Newton-Schulz iteration with the coefficients of Jordan et al. 2024. Singular values that are
    tiny beside the largest do not reach .7.
    """
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + EPSILON)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
    return x.mT if is_tall else x


def _adam_update(state: dict[str, Any], gradient: Tensor) -> Tensor:
    if not state:
        state.update(step=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
    state["step"] += 1
    mean = state["mean"].lerp_(gradient, 1 - BETAS[0]) / (1 - BETAS[0] ** state["step"])
    square = state["square"].lerp_(gradient.square(), 1 - BETAS[1]) / (1 - BETAS[1] ** state["step"])
    return mean / (square.sqrt() + EPSILON)
