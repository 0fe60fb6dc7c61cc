"""Evaluation of networks, and loading one from its recorded weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Dataset
from trainable.model import build
from trainable.storage import entries_under


def load_model(config: Config, weights: Path, seed: int = 0) -> nn.Sequential:
    """One seed's network in evaluation mode, on the CPU. `weights` is the safetensors file that the record keeps of a
    trial, with the weights of all its seeds."""
    model = build(config)
    model.load_state_dict(entries_under(f"seed_{seed}/", load_file(weights)))
    return model.eval()


@torch.inference_mode()
def correct_images(model: nn.Module, batches: Batches, seeds: int) -> Tensor:
    """Which images of a split each of the `seeds` networks that are fused in `model` classifies correctly.

    Returns bool (N, S) on the CPU, in the split's order. The model is used in the mode that it is in.
    """
    correct_ns = []
    for images_nchw, labels_n in batches.in_order():
        scores_nk = model(images_nchw if seeds == 1 else images_nchw.repeat(1, seeds, 1, 1))
        scores_nsk = scores_nk.unflatten(1, (seeds, -1))
        correct_ns.append(scores_nsk.argmax(2) == labels_n[:, None])
    return torch.cat(correct_ns).cpu()


@torch.inference_mode()
def class_probabilities(model: nn.Module, batches: Batches, seeds: int) -> tuple[Tensor, Tensor]:
    """The class probabilities (N, S, K) that each of the `seeds` fused networks gives a split's images, and the mean of
    those for an image and for its mirror image (test-time flips): float32 on the CPU, in the split's order."""
    plain_nsk, flipped_nsk = [], []
    for images_nchw, _ in batches.in_order():
        each_nsk = [
            model(view_nchw if seeds == 1 else view_nchw.repeat(1, seeds, 1, 1))
            .float()
            .unflatten(1, (seeds, -1))
            .softmax(2)
            for view_nchw in (images_nchw, images_nchw.flip(3))
        ]
        plain_nsk.append(each_nsk[0].cpu())
        flipped_nsk.append(((each_nsk[0] + each_nsk[1]) / 2).cpu())
    return torch.cat(plain_nsk), torch.cat(flipped_nsk)


def error_rates(correct_ns: Tensor) -> list[float]:
    """Each seed's error rate from what `correct_images` returns."""
    return [wrong / len(correct_ns) for wrong in (~correct_ns).sum(0).tolist()]


def test_error(config: Config, weights: Path, data: Dataset, seed: int = 0) -> float:
    """One seed's error rate on the test split, computed on the CPU in single precision.

    Protocol B leaves the test split alone during training, so that it can judge the one model that was chosen.
    """
    device = torch.device("cpu")
    model = load_model(config, weights, seed)
    (error,) = error_rates(correct_images(model, Batches(data.test, config, device), seeds=1))
    return error
