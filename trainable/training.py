"""The training loop: plain torch, one config, several seeds, one epoch at a time.

    for epoch in train(Config(batch_norm=True), load("cifar10"), seeds=(0, 1)):
        print(epoch.number, epoch.mean("test_error"))

All randomness is a function of the seed and the epoch, so a training resumes exactly from any epoch's end, and two
configs with the same seed see the same batches in the same order.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Dataset
from trainable.evaluate import error_rate
from trainable.model import build
from trainable.optim import make_loss, make_optimizer, make_scheduler


@dataclass(frozen=True)
class Epoch:
    """What one epoch measured."""

    number: int
    """1-based."""
    seconds: float
    """Of training and evaluating all seeds."""
    metrics: dict[str, list[float]]
    """Name to one value a seed. `train_loss`: mean loss of the epoch's batches while training. `train_error`,
    `val_error`, `test_error`: error rate over the whole split in evaluation mode, as the protocol says."""

    def mean(self, name: str) -> float:
        """The seeds' mean of a metric."""
        return sum(self.metrics[name]) / len(self.metrics[name])


def train(
    config: Config, data: Dataset, seeds: Sequence[int] = (0,), device: str | torch.device | None = None
) -> Iterator[Epoch]:
    """Train a config for some seeds and yield after each epoch."""
    trainer = Trainer(config, data, seeds, device)
    while not trainer.done:
        yield trainer.run_epoch()


class Trainer:
    """A training that can be saved after any epoch and goes on bit for bit (on CPU) in another process."""

    def __init__(
        self, config: Config, data: Dataset, seeds: Sequence[int] = (0,), device: str | torch.device | None = None
    ) -> None:
        torch.set_flush_denormal(True)  # a strong penalty shrinks weights to denormals: 10 times slower on a CPU
        self.config, self.seeds = config, tuple(seeds)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._batches = {
            name: Batches(split, config, self.device) for name, split in data.splits(config.protocol).items()
        }
        steps = config.epochs * self._batches["train"].count(config.batch_size)
        self._learners = [Learner(config, seed, steps, self.device) for seed in self.seeds]
        self.history: list[Epoch] = []
        self.kernels = [self._learners[0].kernels()]
        """First-layer kernels (outputs, 3, 3, 3) of the first seed: at the start, then after every epoch."""

    @property
    def done(self) -> bool:
        """Whether the last epoch is behind us."""
        return len(self.history) == self.config.epochs

    def run_epoch(self) -> Epoch:
        """Train every seed for one epoch and evaluate it."""
        start, number = time.perf_counter(), len(self.history) + 1
        metrics: dict[str, list[float]] = {}
        for learner in self._learners:
            metrics.setdefault("train_loss", []).append(learner.train(self._batches["train"], number))
            for name, batches in self._batches.items():
                metrics.setdefault(f"{name}_error", []).append(learner.error(batches))
        self.kernels.append(self._learners[0].kernels())
        self.history.append(Epoch(number, time.perf_counter() - start, metrics))
        return self.history[-1]

    def weights(self) -> dict[str, Tensor]:
        """Every seed's parameters and buffers on the CPU, as `seed_0/conv1.weight`."""
        return {
            f"seed_{learner.seed}/{name}": tensor.detach().cpu().contiguous()
            for learner in self._learners
            for name, tensor in learner.model.state_dict().items()
        }

    def step_losses(self) -> dict[str, Tensor]:
        """Every seed's mini-batch losses so far, one a step, as `seed_0`."""
        return {f"seed_{learner.seed}": torch.cat([torch.empty(0), *learner.losses]) for learner in self._learners}

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs: tensors and plain values, so that it loads with `weights_only`."""
        return {
            "config": self.config.model_dump(mode="json"),
            "seeds": list(self.seeds),
            "history": [asdict(epoch) for epoch in self.history],
            "kernels": self.kernels,
            "learners": [learner.state_dict() for learner in self._learners],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises `ValueError` where it is of another config or other seeds."""
        if Config(**state["config"]) != self.config or tuple(state["seeds"]) != self.seeds:
            raise ValueError(f"the checkpoint is of {state['config']} with seeds {state['seeds']}")
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.kernels = list(state["kernels"])
        for learner, saved in zip(self._learners, state["learners"], strict=True):
            learner.load_state_dict(saved)


class Learner:
    """One seed: its network, optimizer and schedule."""

    def __init__(self, config: Config, seed: int, steps: int, device: torch.device) -> None:
        self.config, self.seed, self._device = config, seed, device
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = build(config)
        self.model.to(device).to(memory_format=torch.channels_last)
        self._loss = make_loss(config)
        self._optimizer = make_optimizer(config, self.model.parameters())
        self._scheduler = make_scheduler(config, self._optimizer, steps)
        self.losses: list[Tensor] = []
        """Mini-batch losses, one tensor (steps,) an epoch."""

    def train(self, batches: Batches, epoch: int) -> float:
        """One epoch; returns the mean training loss of an image."""
        self.model.train()
        losses, sizes = [], []
        with torch.random.fork_rng():
            torch.manual_seed(epoch_seed(self.seed, epoch))
            for images_nchw, labels_n in batches.shuffled(torch.default_generator):
                with self._precision():
                    scores_nk = self.model(images_nchw)
                loss = self._loss(scores_nk.float(), labels_n)
                self._optimizer.zero_grad()
                loss.backward()
                self._optimizer.step()
                if self._scheduler is not None:
                    self._scheduler.step()
                losses.append(loss.detach())
                sizes.append(len(labels_n))
        self.losses.append(torch.stack(losses).float().cpu())
        return float(np.average(self.losses[-1].double().numpy(), weights=sizes))

    def error(self, batches: Batches) -> float:
        """Error rate over a whole split, in evaluation mode."""
        self.model.eval()
        with self._precision():
            return error_rate(self.model, batches)

    def kernels(self) -> Tensor:
        """A copy of the first layer's kernels (outputs, 3, 3, 3), float32 on the CPU."""
        first = self.model[0]
        assert isinstance(first, nn.Conv2d)
        return first.weight.detach().cpu().float().clone(memory_format=torch.contiguous_format)

    def state_dict(self) -> dict[str, Any]:
        """The network, optimizer, schedule and losses; the generators need no saving, being seeded every epoch."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler and self._scheduler.state_dict(),
            "losses": self.losses,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        self.losses = list(state["losses"])

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.config.precision == "bf16")


def epoch_seed(seed: int, epoch: int) -> int:
    """The generator's seed for one epoch of one seed: well mixed, the same for every config."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
