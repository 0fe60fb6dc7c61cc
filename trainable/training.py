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
from trainable.evaluate import error_rates
from trainable.fused import fuse, separate
from trainable.graphs import GraphedStep
from trainable.model import build
from trainable.optim import make_loss, make_optimizer, make_scheduler
from trainable.probes import probe

DROPOUT = 1
"""The stream of random numbers that is dropout's; a seed and an epoch alone are the batch order's."""


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
    """A training that can be saved after any epoch and goes on bit for bit (on CPU) in another process.

    On a GPU all seeds are fused into one program; on a CPU, which one seed fills, each is its own. `fused` decides
    otherwise. With `probe_every` the loss is probed along the gradient once in so many steps, which changes nothing in
    the training (see `trainable.probes`).
    """

    def __init__(
        self,
        config: Config,
        data: Dataset,
        seeds: Sequence[int] = (0,),
        device: str | torch.device | None = None,
        fused: bool | None = None,
        probe_every: int | None = None,
    ) -> None:
        self.config, self.seeds, self._probe_every = config, tuple(seeds), probe_every
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        _prepare_torch()
        self._batches = {
            name: Batches(split, config, self.device) for name, split in data.splits(config.protocol).items()
        }
        together = self.device.type == "cuda" if fused is None else fused
        groups = [self.seeds] if together else [(seed,) for seed in self.seeds]
        self._learners = [Learner(config, group, self._batches["train"], self.device, probe_every) for group in groups]
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
            metrics.setdefault("train_loss", []).extend(learner.train(number))
        metrics |= self.errors()
        self.kernels.append(self._learners[0].kernels())
        self.history.append(Epoch(number, time.perf_counter() - start, metrics))
        return self.history[-1]

    def errors(self) -> dict[str, list[float]]:
        """Every seed's error rates as they are now, as `test_error`."""
        return {
            f"{name}_error": [rate for learner in self._learners for rate in learner.errors(batches)]
            for name, batches in self._batches.items()
        }

    def weights(self) -> dict[str, Tensor]:
        """Every seed's parameters and buffers on the CPU, as `seed_0/conv1.weight`."""
        return {
            f"seed_{seed}/{name}": tensor.detach().cpu().contiguous().clone()
            for learner in self._learners
            for seed, state in zip(learner.seeds, separate(learner.model.state_dict(), len(learner.seeds)), strict=True)
            for name, tensor in state.items()
        }

    def step_losses(self) -> dict[str, Tensor]:
        """Every seed's mini-batch losses so far, one a step, as `seed_0`."""
        return {
            f"seed_{seed}": torch.cat([torch.empty(0), *(losses_ts[:, place] for losses_ts in learner.losses)])
            for learner in self._learners
            for place, seed in enumerate(learner.seeds)
        }

    def probes(self) -> dict[str, Tensor]:
        """Every seed's probes so far (probes, step sizes, measured), as `seed_0`; empty where none were asked for."""
        return {
            f"seed_{seed}": torch.stack([probe[place] for probe in learner.probes])
            for learner in self._learners
            for place, seed in enumerate(learner.seeds)
            if learner.probes
        }

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs: tensors and plain values, so that it loads with `weights_only`."""
        return {
            "config": self.config.model_dump(mode="json"),
            "groups": [list(learner.seeds) for learner in self._learners],
            "probe_every": self._probe_every,
            "history": [asdict(epoch) for epoch in self.history],
            "kernels": self.kernels,
            "learners": [learner.state_dict() for learner in self._learners],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises `ValueError` where it is of another config, of other seeds, of another
        device, which fuses them otherwise, or of a training that was probed otherwise."""
        same_seeds = state["groups"] == [list(each.seeds) for each in self._learners]
        if Config(**state["config"]) != self.config or not same_seeds or state["probe_every"] != self._probe_every:
            raise ValueError(f"the checkpoint is of {state['config']} with seeds {state['groups']}")
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.kernels = list(state["kernels"])
        for learner, saved in zip(self._learners, state["learners"], strict=True):
            learner.load_state_dict(saved)


class Learner:
    """Seeds that train as one program: their fused network, its optimizer and its schedule."""

    def __init__(
        self,
        config: Config,
        seeds: tuple[int, ...],
        batches: Batches,
        device: torch.device,
        probe_every: int | None = None,
    ) -> None:
        self.config, self.seeds, self._batches, self._device = config, seeds, batches, device
        self._probe_every = probe_every
        with torch.random.fork_rng(devices=[]):
            networks = []
            for seed in seeds:
                torch.default_generator.manual_seed(seed)
                networks.append(build(config))
        self.model = fuse(networks).to(device)
        if len(seeds) == 1:
            self.model.to(memory_format=torch.channels_last)
        self._parameters = list(self.model.parameters())
        self._loss = make_loss(config)
        self._optimizer = make_optimizer(config, self._parameters)
        self._scheduler = make_scheduler(config, self._optimizer, config.epochs * batches.count(config.batch_size))
        self._step = GraphedStep(self._gradients, self.model.buffers())
        self.losses: list[Tensor] = []
        """Mini-batch losses (steps, S), one tensor an epoch."""
        self.probes: list[Tensor] = []
        """What `probe` measured."""

    def train(self, epoch: int) -> list[float]:
        """One epoch; returns each seed's mean training loss of an image."""
        self.model.train()
        losses, sizes = [], []
        generators = [torch.Generator().manual_seed(epoch_seed(seed, epoch)) for seed in self.seeds]
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(epoch_seed(*self.seeds, epoch, DROPOUT))
            for number, (rows_ns, moves_ns3) in enumerate(self._batches.shuffled(generators)):
                losses_s, *gradients = self._step(rows_ns, moves_ns3)
                if self._probe_every and number % self._probe_every == 0:
                    self._probe((rows_ns, moves_ns3), gradients)
                for parameter, gradient in zip(self._parameters, gradients, strict=True):
                    parameter.grad = gradient
                self._optimizer.step()
                if self._scheduler is not None:
                    self._scheduler.step()
                losses.append(losses_s.clone())
                sizes.append(len(rows_ns))
        self.losses.append(torch.stack(losses).cpu())
        return np.average(self.losses[-1].double().numpy(), axis=0, weights=sizes).tolist()

    def errors(self, batches: Batches) -> list[float]:
        """Each seed's error rate over a whole split, in evaluation mode."""
        self.model.eval()
        with self._precision():
            return error_rates(self.model, batches, len(self.seeds))

    def kernels(self) -> Tensor:
        """A copy of the first seed's first-layer kernels (outputs, 3, 3, 3), float32 on the CPU."""
        first = self.model[0]
        assert isinstance(first, nn.Conv2d)
        own = first.weight.chunk(len(self.seeds))[0]
        return own.detach().cpu().float().clone(memory_format=torch.contiguous_format)

    def state_dict(self) -> dict[str, Any]:
        """The network, optimizer, schedule and losses; the generators need no saving, being seeded every epoch."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler and self._scheduler.state_dict(),
            "losses": self.losses,
            "probes": self.probes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        self.losses, self.probes = list(state["losses"]), list(state["probes"])

    def _gradients(self, rows_ns: Tensor, moves_ns3: Tensor) -> tuple[Tensor, ...]:
        """Each seed's loss of a batch (S,), then the parameters' gradients: the seeds' losses share no parameter."""
        images, labels_ns = self._batches.load(rows_ns, moves_ns3)
        with self._precision():
            scores = self.model(images)
        losses_s = self._loss(scores.float().view(labels_ns.numel(), -1), labels_ns.flatten())
        losses_s = losses_s.view(labels_ns.shape).mean(0)
        return losses_s.detach(), *torch.autograd.grad(losses_s.sum(), self._parameters)

    def _probe(self, inputs: tuple[Tensor, Tensor], gradients: list[Tensor]) -> None:
        rate = self._optimizer.param_groups[0]["lr"]
        self.probes.append(
            probe(self._gradients, inputs, gradients, self._parameters, self.model.buffers(), rate, len(self.seeds))
        )

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.config.precision == "bf16")


def epoch_seed(*stream: int) -> int:
    """A generator's seed for one epoch: well mixed from the seed and the epoch, the same for every config."""
    return int(np.random.SeedSequence(stream).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _prepare_torch() -> None:
    torch.set_flush_denormal(True)  # a strong penalty shrinks weights to denormals: 10 times slower on a CPU
    torch.backends.cudnn.allow_tf32 = False  # fp32 is fp32: lower precision is a config's choice
    torch.backends.cudnn.benchmark = True
