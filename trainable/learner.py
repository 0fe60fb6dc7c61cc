"""Seeds that train as one program: their fused network and what updates it, one epoch at a time.

All randomness is a function of seed and epoch. A later process therefore continues exactly, and two configs with the
same seed see the same batches in the same order.
"""

from typing import Any, assert_never

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

DROPOUT_STREAM = 1
"""Sets the random numbers of dropout apart from those of the batches, which are seeded by seed and epoch alone."""


class Learner:
    """The fused network of some seeds, its optimizer and its learning-rate schedule.

    With `probe_every`, the loss is probed along the gradient once in that many steps (see `trainable.probes`).
    """

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
        self._scheduler = make_scheduler(config, self._optimizer, config.epochs * batches.steps_per_epoch)
        self._step = GraphedStep(self._gradients, self.model.buffers())
        self.losses: list[Tensor] = []
        """Mini-batch losses: one tensor (T, S) for each epoch."""
        self.probes: list[Tensor] = []
        """Probes along the gradient: one tensor (S, E, M) each."""

    def train(self, epoch: int) -> list[float]:
        """Train for one epoch, counted from 1. Returns each seed's training loss, averaged over the images."""
        self.model.train()
        losses, batch_sizes = [], []
        generators = [torch.Generator().manual_seed(epoch_seed(seed, epoch)) for seed in self.seeds]
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(epoch_seed(*self.seeds, epoch, DROPOUT_STREAM))
            for step, (rows_ns, augmentation_nsa) in enumerate(self._batches.shuffled(generators)):
                losses_s, *gradients = self._step(rows_ns, augmentation_nsa)
                if self._probe_every and step % self._probe_every == 0:
                    self._probe((rows_ns, augmentation_nsa), gradients)
                for parameter, gradient in zip(self._parameters, gradients, strict=True):
                    parameter.grad = gradient
                self._optimizer.step()
                if self._scheduler is not None:
                    self._scheduler.step()
                losses.append(losses_s.clone())
                batch_sizes.append(len(rows_ns))
        losses_ts = torch.stack(losses).cpu()
        self.losses.append(losses_ts)
        return np.average(losses_ts.double().numpy(), axis=0, weights=batch_sizes).tolist()

    def correct_images(self, batches: Batches) -> Tensor:
        """Which images of a split each seed's network classifies correctly in evaluation mode: bool (N, S), on CPU."""
        self.model.eval()
        with self._autocast():
            return correct_images(self.model, batches, len(self.seeds))

    def kernels(self) -> Tensor:
        """A copy of the first seed's first-layer kernels: float32 (output channels, 3, 3, 3) on the CPU."""
        first_layer = self.model[0]
        assert isinstance(first_layer, nn.Conv2d)
        kernels = first_layer.weight.chunk(len(self.seeds))[0]
        return kernels.detach().cpu().float().clone(memory_format=torch.contiguous_format)

    def state_dict(self) -> dict[str, Any]:
        """The state of network, optimizer and schedule, and all losses and probes. Random generators are not saved,
        because they are seeded anew in every epoch."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler and self._scheduler.state_dict(),
            "losses": self.losses,
            "probes": self.probes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        self.losses, self.probes = list(state["losses"]), list(state["probes"])

    def _gradients(self, rows_ns: Tensor, augmentation_nsa: Tensor) -> tuple[Tensor, ...]:
        """Each seed's mean loss of a batch (S,), then the gradient of every parameter.

        The seeds' losses share no parameter, so the gradients of their sum are those of each loss.
        """
        images_nchw, labels_ns = self._batches.load(rows_ns, augmentation_nsa)
        with self._autocast():
            scores_nk = self.model(images_nchw)
        losses_ns = self._loss(scores_nk.float().view(labels_ns.numel(), -1), labels_ns.flatten()).view(labels_ns.shape)
        losses_s = losses_ns.mean(0)
        return losses_s.detach(), *torch.autograd.grad(losses_s.sum(), self._parameters)

    def _probe(self, inputs: tuple[Tensor, Tensor], gradients: list[Tensor]) -> None:
        learning_rate, buffers = self._optimizer.param_groups[0]["lr"], self.model.buffers()
        self.probes.append(
            probe(self._gradients, inputs, gradients, self._parameters, buffers, learning_rate, len(self.seeds))
        )

    def _autocast(self) -> torch.autocast:
        match self.config.precision:
            case "fp32":
                return torch.autocast(self._device.type, torch.bfloat16, enabled=False)
            case "bf16":
                return torch.autocast(self._device.type, torch.bfloat16)
            case unknown:
                assert_never(unknown)


def epoch_seed(*stream: int) -> int:
    """A seed for a random generator, mixed from the numbers that identify its stream: a training's seed and the epoch.

    It is the same for every config, and far apart for neighbouring numbers.
    """
    return int(np.random.SeedSequence(stream).generate_state(1, np.uint64)[0] >> np.uint64(1))
