"""A trained network from its recorded weights: for evaluation and for serving."""

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
    """One seed's network in evaluation mode. `weights` is a recorded safetensors file of all the trial's seeds."""
    model = build(config)
    model.load_state_dict(entries_under(f"seed_{seed}/", load_file(weights)))
    return model.eval()


@torch.inference_mode()
def correct_images(model: nn.Module, batches: Batches, count: int) -> Tensor:
    """Whether each of the `count` networks fused in a model, as it stands, is right about each image of a split:
    bool (N, count) on the CPU, in the split's order."""
    parts = []
    for images, labels_n in batches.in_order():
        scores_nsk = model(images if count == 1 else images.repeat(1, count, 1, 1)).unflatten(1, (count, -1))
        parts.append(scores_nsk.argmax(2) == labels_n[:, None])
    return torch.cat(parts).cpu()


def error_rates(correct_ns: Tensor) -> list[float]:
    """The error rate of each column of `correct_images`."""
    return [wrong / len(correct_ns) for wrong in (~correct_ns).sum(0).tolist()]


def test_error(config: Config, weights: Path, data: Dataset, seed: int = 0) -> float:
    """Error rate on the test split, which protocol B keeps for the one chosen model."""
    device = torch.device("cpu")
    model = load_model(config, weights, seed)
    (error,) = error_rates(correct_images(model, Batches(data.test, config, device), 1))
    return error
