"""A trained network from its recorded weights: for evaluation and for serving."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from trainable.batches import Batches
from trainable.config import Config
from trainable.data import load
from trainable.model import build


def load_model(config: Config, weights: Path, seed: int = 0) -> nn.Sequential:
    """One seed's network in evaluation mode. `weights` is a recorded safetensors file of all the trial's seeds."""
    prefix = f"seed_{seed}/"
    state = {
        name.removeprefix(prefix): tensor for name, tensor in load_file(weights).items() if name.startswith(prefix)
    }
    model = build(config)
    model.load_state_dict(state)
    return model.eval()


@torch.inference_mode()
def error_rate(model: nn.Module, batches: Batches) -> float:
    """Error rate of a model, as it stands, over a whole split."""
    wrong = sum((model(images).argmax(1) != labels).sum() for images, labels in batches.in_order())
    return int(wrong) / batches.size


def test_error(config: Config, weights: Path, data_dir: str | None = None, seed: int = 0) -> float:
    """Error rate on the test split, which protocol B keeps for the one chosen model."""
    device = torch.device("cpu")
    return error_rate(load_model(config, weights, seed), Batches(load(config.data, data_dir).test, config, device))
