"""A loss of one's own: a function from the network and a batch to one loss for each image."""

from typing import Any

import torch
from torch import Tensor, nn

from trainable.config import Config
from trainable.device import autocast
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import OwnCodeError, call_own

LOSS = "loss"
"""The field of the config, and the function of the file."""


class OwnLoss:
    """What the file's `loss` returns for a network and a batch, in the config's precision. The network's scores are
    float32 from then on, also within the function."""

    def __init__(self, config: Config, network: nn.Module, device: torch.device) -> None:
        assert isinstance(config.loss, CodeFile)
        self._file, self._arguments = config.loss, config.loss_arguments
        self._network, self._autocast = network, autocast(config, device)
        network.register_forward_hook(_in_float32)

    def __call__(self, images_nchw: Tensor, labels_n1: Tensor) -> Tensor:
        """The losses (N, 1) of one seed's images (N, 3, P, P) with labels (N, 1), float32. Raises `OwnCodeError` where
        the file or its function fails, or returns something else."""
        given = self._network, images_nchw.contiguous(), labels_n1[:, 0]
        with self._autocast:
            losses_n = call_own(LOSS, self._file, self._arguments, *given)
        images = len(images_nchw)
        if isinstance(losses_n, Tensor) and losses_n.shape == (images,) and losses_n.is_floating_point():
            return losses_n.float()[:, None]
        found = f"{losses_n.dtype} {tuple(losses_n.shape)}" if isinstance(losses_n, Tensor) else type(losses_n).__name__
        raise OwnCodeError(
            LOSS, self._file, f"for {images} images it must return {images} losses, and returned {found}"
        )


def _in_float32(network: nn.Module, inputs: tuple[Any, ...], scores: Any) -> Any:
    return scores.float() if isinstance(scores, Tensor) else scores
