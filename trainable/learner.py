"""Seeds that train as one program: their fused network and what updates it, one epoch at a time.

All randomness is a function of seed and epoch; that of dropout also of which seeds are fused and of the kind of device.
A later process on the same kind therefore continues exactly, on a GPU but for rounding, and two configs with the same
seed see the same batches in the same order.
"""

from typing import Any, assert_never

import numpy as np
import torch
import torch._dynamo  # the first optimizer would import it, in a cycle that keeps what led there: the first training
from torch import Tensor, nn

from trainable.average import MovingAverage
from trainable.batches import Batches
from trainable.config import Config
from trainable.device import autocast, random_numbers
from trainable.evaluate import class_probabilities, correct_images
from trainable.fused import fuse, separate
from trainable.gradients import Gradients
from trainable.graphs import GraphedStep, Step
from trainable.model import build
from trainable.optim import make_optimizer, make_scheduler, parameter_groups, take_step
from trainable.probes import get_random_state, probe

DROPOUT_STREAM = 1
"""Sets the random numbers of dropout apart from those of the batches, which are seeded by seed and epoch alone."""
FLIP_EPOCH = 0
"""The epoch whose stream of random numbers says which images alternating flips mirror first. Training starts at 1."""


class Learner:
    """The fused network of some seeds, its optimizer and its learning-rate schedule.

    With `probe_every`, the loss is probed along the gradient once in that many steps (see `trainable.probes`).
    """

    can_be_saved = True
    """Of every built-in training: see `trainable.own_code.training.OwnLearner`."""

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
        if len(seeds) == 1 and device.type == "cuda" and not config.has_own_network:
            self.model.to(memory_format=torch.channels_last)
        self._parameters = list(self.model.parameters())
        self._optimizer = make_optimizer(config, parameter_groups(config, self.model), device, len(seeds))
        self._scheduler = make_scheduler(config, self._optimizer, config.epochs * batches.steps_per_epoch)
        gradients = Gradients(config, self.model, batches, device)
        # a graph would repeat what Python code of one's own decides at the capture
        self._step: Step = gradients if config.has_own_step else GraphedStep(gradients, self.model.buffers())
        self._average = MovingAverage(self.model, config.ema_decay) if config.ema_decay else None
        self.result = self.model if self._average is None else self._average.network
        """What is evaluated and recorded: the fused network or, where the config says so, its moving average."""
        self.losses: list[Tensor] = []
        """Mini-batch losses: one tensor (T, S) for each epoch."""
        self.probes: list[Tensor] = []
        """Probes along the gradient: one tensor (S, E, M) each."""

    def train(self, epoch: int) -> dict[str, list[float]]:
        """Train for one epoch, counted from 1. Returns `train_loss`: each seed's loss, averaged over the images."""
        self.model.train()
        # one tensor for all steps: a small one kept from each step would fragment the memory that steps use again
        losses_ts = torch.empty(self._batches.steps_per_epoch, len(self.seeds), device=self._device)
        batch_sizes = []
        steps_before = (epoch - 1) * self._batches.steps_per_epoch
        with random_numbers(epoch_seed(*self.seeds, epoch, DROPOUT_STREAM), self._device):
            batches = self._batches.shuffled(self._generators(epoch), self._mirrored(epoch))
            for step, (rows_ns, augmentation_nsa) in enumerate(batches):
                probed = self._probe_every is not None and step % self._probe_every == 0
                random_state = get_random_state(self._device) if probed else None
                losses_s, *gradients = self._step(rows_ns, augmentation_nsa)
                losses_ts[step] = losses_s
                if random_state is not None:
                    gradients = [gradient.clone() for gradient in gradients]  # the probe's steps overwrite them
                    self._probe((rows_ns, augmentation_nsa), gradients, random_state)
                self._update((rows_ns, augmentation_nsa), gradients)
                if self._scheduler is not None:
                    self._scheduler.step()
                if self._average is not None:
                    self._average.update(steps_before + step + 1)
                batch_sizes.append(len(rows_ns))
        self.losses.append(losses_ts.cpu())
        return {"train_loss": np.average(self.losses[-1].double().numpy(), axis=0, weights=batch_sizes).tolist()}

    def correct_images(self, batches: Batches, raw: bool = False) -> Tensor:
        """Which images of a split each seed's result classifies correctly in evaluation mode: bool (N, S), on CPU.

        With `raw`, the network that is trained is evaluated and not its average.
        """
        network = self.model if raw else self.result
        network.eval()
        with autocast(self.config, self._device):
            return correct_images(network, batches, len(self.seeds))

    def class_probabilities(self, batches: Batches) -> tuple[Tensor, Tensor]:
        """Each seed's class probabilities (N, S, K) for a split in evaluation mode, plain and with test-time flips: see
        `trainable.evaluate.class_probabilities`."""
        self.result.eval()
        with autocast(self.config, self._device):
            return class_probabilities(self.result, batches, len(self.seeds))

    def kernels(self) -> Tensor | None:
        """A copy of the first seed's first-layer kernels: float32 (output channels, 3, 3, 3) on the CPU; None for a
        network of one's own."""
        if self.config.has_own_network:
            return None
        first_layer = self.result.get_submodule("conv1")
        assert isinstance(first_layer, nn.Conv2d)
        kernels = first_layer.weight.chunk(len(self.seeds))[0]
        return kernels.detach().cpu().float().clone(memory_format=torch.contiguous_format)

    def weights(self) -> list[dict[str, Tensor]]:
        """The parameters and buffers of each seed's result, by PyTorch's names."""
        return separate(self.result.state_dict(), len(self.seeds))

    def state_dict(self) -> dict[str, Any]:
        """The state of network, average, optimizer and schedule, and all losses and probes. Random generators are not
        saved, because they are seeded anew in every epoch."""
        return {
            "model": self.model.state_dict(),
            "average": self._average and self._average.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler and self._scheduler.state_dict(),
            "losses": self.losses,
            "probes": self.probes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.model.load_state_dict(state["model"])
        if self._average is not None:
            self._average.network.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._lay_out_moments()
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        self.losses, self.probes = list(state["losses"]), list(state["probes"])

    def _lay_out_moments(self) -> None:
        """Bring what the optimizer keeps of each value into its parameter's memory layout: fused optimizers read both
        in the order of the memory, and an earlier version saved another one."""
        for parameter, kept in self._optimizer.state.items():
            for name, moment in kept.items() if isinstance(kept, dict) else ():  # one's own may keep anything
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                    kept[name] = torch.empty_like(parameter).copy_(moment)

    def _generators(self, epoch: int) -> list[torch.Generator]:
        """Each seed's generator for an epoch."""
        return [torch.Generator().manual_seed(epoch_seed(seed, epoch)) for seed in self.seeds]

    def _mirrored(self, epoch: int) -> Tensor | None:
        """1 for the train images that each seed sees mirrored in an epoch (N, S), on the device; None where the batches
        draw that."""
        match self.config.flip_mode:
            case "random":
                return None
            case "alternating":
                size = self._batches.size
                coins = [torch.randint(2, (size,), generator=each) for each in self._generators(FLIP_EPOCH)]
                return (self._batches.stack_seeds(coins) + epoch) % 2
            case unknown:
                assert_never(unknown)

    def _update(self, inputs: tuple[Tensor, Tensor], gradients: list[Tensor]) -> None:
        def again() -> float:
            losses_s, *new_gradients = self._step(*inputs)
            self._set(new_gradients)
            return losses_s.sum().item()

        self._set(gradients)
        take_step(self.config, self._optimizer, again)

    def _set(self, gradients: list[Tensor]) -> None:
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient

    def _probe(self, inputs: tuple[Tensor, Tensor], gradients: list[Tensor], random_state: list[Tensor]) -> None:
        learning_rate, buffers = self._optimizer.param_groups[0]["lr"], self.model.buffers()
        seeds = len(self.seeds)
        self.probes.append(
            probe(self._step, inputs, gradients, self._parameters, buffers, learning_rate, seeds, random_state)
        )


def epoch_seed(*stream: int) -> int:
    """A seed for a random generator, mixed from the numbers that identify its stream: a training's seed and the epoch.

    It is the same for every config, and far apart for neighbouring numbers.
    """
    return int(np.random.SeedSequence(stream).generate_state(1, np.uint64)[0] >> np.uint64(1))
