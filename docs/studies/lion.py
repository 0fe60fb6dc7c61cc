"""An optimizer of one's own: Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2).

`optimizer` gets the `optimizer_arguments` of a study's rows, here those of methods.yaml.
"""

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class Lion(Optimizer):
    """Steps by the sign of an average of the gradients. The weight decay is decoupled."""

    def __init__(self, parameters: ParamsT, lr: float, weight_decay: float, beta1: float, beta2: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})
        self.beta1, self.beta2 = beta1, beta2

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may take one
        """Update each parameter by its gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                kept = self.state[parameter]
                if not kept:
                    kept["momentum"] = torch.zeros_like(parameter)
                direction = torch.lerp(parameter.grad, kept["momentum"], self.beta1).sign_()
                kept["momentum"].lerp_(parameter.grad, 1 - self.beta2)
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction, alpha=group["lr"])


def optimizer(parameters: ParamsT, lr: float, weight_decay: float, beta1: float, beta2: float) -> Optimizer:
    """Lion for parameters in groups, as torch's optimizers take them."""
    return Lion(parameters, lr, weight_decay, beta1, beta2)
