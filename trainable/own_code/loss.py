"""A loss of one's own: a function from the network and a batch to one loss for each image."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import OwnCodeError, call_own


class OwnLoss:
    """What the file's `loss` returns for a network and a batch, computed under `autocast`. The network's scores are
    float32 from then on, also within the function."""

    def __init__(
        self, file: CodeFile, arguments: Mapping[str, Any], network: nn.Module, autocast: torch.autocast
    ) -> None:
        self._file, self._arguments, self._network, self._autocast = file, arguments, network, autocast
        network.register_forward_hook(_in_float32)

    def __call__(self, images_nchw: Tensor, labels_n1: Tensor) -> Tensor:
        """The losses (N, 1) of one seed's images (N, 3, P, P) with labels (N, 1), float32. Raises `OwnCodeError` where
        the file or its function fails, or returns something else."""
        given = self._network, images_nchw.contiguous(), labels_n1[:, 0]
        with self._autocast:
            losses_n = call_own("loss", self._file, self._arguments, *given)
        images = len(images_nchw)
        if isinstance(losses_n, Tensor) and losses_n.shape == (images,) and losses_n.is_floating_point():
            return losses_n.float()[:, None]
        found = f"{losses_n.dtype} {tuple(losses_n.shape)}" if isinstance(losses_n, Tensor) else type(losses_n).__name__
        allowed = f"for {images} images it must return {images} losses"
        raise OwnCodeError.of("loss", self._file, f"{allowed}, and returned {found}")


def _in_float32(network: nn.Module, inputs: tuple[Any, ...], scores: Any) -> Any:
    return scores.float() if isinstance(scores, Tensor) else scores
