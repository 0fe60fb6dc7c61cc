"""Evaluation of networks, and loading one from its recorded weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trainable.batches import Batches
from trainable.config import Config
from trainable.files import entries_under, seed_name
from trainable.model import build


def load_model(config: Config, weights: Path, seed: int) -> nn.Module:
    """One seed's network in evaluation mode, on the CPU. `weights` is the safetensors file that the record keeps of a
    trial, with the weights of all its seeds."""
    model = build(config)
    model.load_state_dict(entries_under(f"{seed_name(seed)}/", load_file(weights)))
    return model.eval()


@torch.inference_mode()
def correct_images(model: nn.Module, batches: Batches, seeds: int) -> Tensor:
    """Which images of a split each of the `seeds` networks that are fused in `model` classifies correctly.

    Returns bool (N, S) on the CPU, in the split's order. The model is used in the mode that it is in.
    """
    correct_ns = []
    for images_nchw, labels_n in batches.in_order(seeds):
        correct_ns.append(_scores(model, images_nchw, seeds).argmax(2) == labels_n[:, None])
    return torch.cat(correct_ns).cpu()


def _scores(model: nn.Module, images_nchw: Tensor, seeds: int) -> Tensor:
    """The class scores (N, S, K) that each of the fused networks gives the same images."""
    shared_nchw = images_nchw if seeds == 1 else images_nchw.contiguous()  # the memory format of fused networks
    return model(shared_nchw).unflatten(1, (seeds, -1))


@torch.inference_mode()
def class_probabilities(model: nn.Module, batches: Batches, seeds: int) -> tuple[Tensor, Tensor]:
    """The class probabilities (N, S, K) that each of the `seeds` fused networks gives a split's images, and the mean of
    those for an image and for its mirror image (test-time flips): float32 on the CPU, in the split's order."""
    plain_nsk, flipped_nsk = [], []
    for images_nchw, _ in batches.in_order(seeds):
        own_nsk, mirrored_nsk = (
            _scores(model, view_nchw, seeds).float().softmax(2) for view_nchw in (images_nchw, images_nchw.flip(3))
        )
        plain_nsk.append(own_nsk.cpu())
        flipped_nsk.append(((own_nsk + mirrored_nsk) / 2).cpu())
    return torch.cat(plain_nsk), torch.cat(flipped_nsk)


def error_rates(correct_ns: Tensor) -> list[float]:
    """Each seed's error rate from what `correct_images` returns."""
    return [wrong / len(correct_ns) for wrong in (~correct_ns).sum(0).tolist()]
