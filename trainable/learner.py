"""Seeds that train as one program: their fused network and what updates it, one epoch at a time.

All randomness is a function of the seed and the epoch: a later process goes on exactly, and two configs with the same
seed see the same batches in the same order.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainable.batches import Batches
from trainable.config import Config
from trainable.evaluate import correct_images
from trainable.fused import fuse
from trainable.graphs import GraphedStep
from trainable.model import build
from trainable.optim import make_loss, make_optimizer, make_scheduler
from trainable.probes import probe

DROPOUT = 1
"""The stream of random numbers that is dropout's; a seed and an epoch alone are the batch order's."""


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

    def correct_images(self, batches: Batches) -> Tensor:
        """Whether each seed's network, in evaluation mode, is right about each image of a split: bool (N, S)."""
        self.model.eval()
        with self._precision():
            return correct_images(self.model, batches, len(self.seeds))

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
