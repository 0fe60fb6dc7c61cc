"""The losses of a batch and their gradients: the part of a training step that can be captured as a CUDA graph."""

import torch
from torch import Tensor, nn

from trainable.batches import Batches
from trainable.config import Config
from trainable.device import autocast
from trainable.optim import make_loss
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loss import OwnLoss


class Gradients:
    """A function from a batch, as `Batches.shuffled` yields it, to its losses and their gradients.

    It is apart from the learner, so that a graph of it does not hold the learner that holds the graph: a cycle would
    keep the memory of both until Python looks for cycles, and the next trial needs it at once.
    """

    def __init__(self, config: Config, model: nn.Module, batches: Batches, device: torch.device) -> None:
        self._batches = batches
        self._parameters = list(model.parameters())
        self._losses: OwnLoss | _LossOfScores
        if isinstance(config.loss, CodeFile):
            self._losses = OwnLoss(config.loss, config.loss_arguments, model, autocast(config, device))
        else:
            self._losses = _LossOfScores(config, model, device)

    def __call__(self, rows_ns: Tensor, augmentation_nsa: Tensor) -> tuple[Tensor, ...]:
        """Each seed's mean loss of a batch (S,), then the gradient of every parameter.

        The seeds' losses share no parameter, so the gradients of their sum are those of each loss.
        """
        losses_s = self._losses(*self._batches.load(rows_ns, augmentation_nsa)).mean(0)
        # code of one's own may leave out parameters in some steps
        gradients = torch.autograd.grad(losses_s.sum(), self._parameters, allow_unused=True, materialize_grads=True)
        return losses_s.detach(), *map(_laid_out, gradients, self._parameters)


class _LossOfScores:
    """The losses (N, S) of the scores that the networks of S seeds, fused in `model`, give their images."""

    def __init__(self, config: Config, model: nn.Module, device: torch.device) -> None:
        self._model, self._loss, self._autocast = model, make_loss(config), autocast(config, device)

    def __call__(self, images_nchw: Tensor, labels_ns: Tensor) -> Tensor:
        """The losses of images (N, S*3, P, P)."""
        with self._autocast:
            scores_nk = self._model(images_nchw)
        return self._loss(scores_nk.float().view(labels_ns.numel(), -1), labels_ns.flatten()).view(labels_ns.shape)


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient in its parameter's memory layout: fused optimizers read both in the order of the memory."""
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)
