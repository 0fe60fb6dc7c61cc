"""The training loop: plain torch, one config, several seeds, one epoch at a time.

    for epoch in train(Config(batch_norm=True), load("cifar10"), seeds=(0, 1)):
        print(epoch.number, epoch.mean("test_error"))

All randomness is a function of seed and epoch; that of dropout also of which seeds are fused with it. A training
therefore resumes exactly from the end of any epoch, on a GPU but for rounding, and two configs with the same seed see
the same batches in the same order.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainable.batches import Batches, batches_of
from trainable.config import Config
from trainable.data import Dataset, check_same
from trainable.device import prepare_torch
from trainable.evaluate import error_rates
from trainable.files import (
    CORRECT,
    EPOCH_KERNELS,
    PREDICTIONS,
    PROBES,
    STEP_LOSSES,
    TRACES,
    TRAINED,
    WEIGHTS,
    entries_under,
    seed_name,
)
from trainable.learner import Learner
from trainable.own_code.loading import problems_in
from trainable.own_code.training import OwnLearner
from trainable.trial import Epoch


def train(
    config: Config, data: Dataset, seeds: Sequence[int] = (0,), device: str | torch.device = "cpu"
) -> Iterator[Epoch]:
    """Train a config for some seeds and yield each epoch's metrics when it ends.

    Raises `DeviceError` for a GPU that torch cannot use, and for a device that is neither a CPU nor a CUDA GPU, and
    `DataError` for other data than the config names.
    """
    trainer = Trainer(config, data, seeds, device)
    while not trainer.done:
        yield trainer.run_epoch()


class Trainer:
    """A training that can be saved after any epoch and continued in another process, bit for bit on a CPU.

    By default all seeds are fused into one program on a GPU. On a CPU, which a single seed keeps busy, they train one
    by one; `fused` overrides this. With a network, a loss, an optimizer or a training of the user's own they always
    train one by one. With `probe_every`, the loss is probed along the gradient once in that many steps, which changes
    nothing in the training (see `trainable.probes`).

    Raises `DeviceError` for a GPU that torch cannot use, `DataError` for other data than the config names, and
    `ValueError` for seeds that are none or not distinct.
    """

    def __init__(
        self,
        config: Config,
        data: Dataset,
        seeds: Sequence[int] = (0,),
        device: str | torch.device = "cpu",
        fused: bool | None = None,
        probe_every: int | None = None,
    ) -> None:
        check_same(config, data)
        if len(set(seeds)) < max(1, len(seeds)):
            raise ValueError(f"seeds {list(seeds)}: must be one or more, each named once")
        self.config, self.seeds, self._probe_every = config, tuple(seeds), probe_every
        self.device = prepare_torch(device)
        self._batches = batches_of(data.splits(config.protocol), config, self.device)
        fuse_seeds = not config.has_own_step and (self.device.type == "cuda" if fused is None else fused)
        groups = [self.seeds] if fuse_seeds else [(seed,) for seed in self.seeds]
        self._learners = [self._learner(group) for group in groups]
        self.history: list[Epoch] = []
        """The epochs so far."""
        self._correct_ns = torch.empty(0, len(self.seeds), dtype=torch.bool)
        self.kernels: list[Tensor] = []
        """The first seed's first-layer kernels (output channels, 3, 3, 3): at the start and after each epoch. None are
        kept of a network of one's own."""
        self._keep_kernels()

    @property
    def can_be_saved(self) -> bool:
        """Whether it has a `state_dict`: all but a training of one's own that cannot save itself."""
        return all(learner.can_be_saved for learner in self._learners)

    @property
    def done(self) -> bool:
        """Whether all epochs of the config are trained."""
        return len(self.history) == self.config.epochs

    def run_epoch(self) -> Epoch:
        """Train all seeds for one epoch, evaluate them and return the epoch's metrics."""
        start, number = time.perf_counter(), len(self.history) + 1
        with problems_in(self.config):
            trained = [learner.train(number) for learner in self._learners]
            errors = self.evaluate()
        of_all = [name for name in trained[0] if all(name in each for each in trained)]
        metrics = {name: [value for each in trained for value in each[name]] for name in of_all} | errors
        self._keep_kernels()
        self.history.append(Epoch(number, time.perf_counter() - start, metrics))
        return self.history[-1]

    def evaluate(self) -> dict[str, list[float]]:
        """The present error rates on every split, one for each seed, by metric name (`test_error`).

        Where weights are averaged, these are the averaged networks' errors. `raw_test_error` (or `raw_val_error`) is
        then the held-out error of the networks that are trained; their train error would cost most of the evaluation
        again.
        """
        errors = {}
        for name, batches in self._batches.items():
            correct_ns = self._correct_images(batches)
            errors[f"{name}_error"] = error_rates(correct_ns)
            if name != "train":
                self._correct_ns = correct_ns
                if self.config.ema_decay:
                    errors[f"raw_{name}_error"] = error_rates(self._correct_images(batches, raw=True))
        return errors

    def results(self, predictions: bool = False) -> dict[str, dict[str, Tensor]]:
        """What the record keeps of this training: tensors on the CPU by the name of the file that holds them. With
        `predictions`, what it predicts for the held-out images is among them."""
        kernels = {f"{EPOCH_KERNELS}{epoch}": kernel for epoch, kernel in enumerate(self.kernels)}
        losses = {STEP_LOSSES + seed: losses_t for seed, losses_t in self.step_losses().items()}
        probes = {PROBES + seed: probes for seed, probes in self.probes().items()}
        layers = {TRAINED + name: weights for name, weights in self.first_layers().items()}
        kept = {
            WEIGHTS: self.weights(),
            TRACES: kernels | layers | losses | probes,
            CORRECT: self.correct_bits(),
        }
        return kept | ({PREDICTIONS: self.predictions()} if predictions else {})

    def correct_bits(self) -> dict[str, Tensor]:
        """Which held-out images each seed's network classified correctly at the last evaluation, by `seed_0`.

        There is one bit for each image, in the split's order, packed into uint8 (B,) as by `numpy.packbits`.
        """
        packed_sb = torch.from_numpy(np.packbits(self._correct_ns.numpy(), axis=0)).T
        return {seed_name(seed): packed_b for seed, packed_b in zip(self.seeds, packed_sb.contiguous(), strict=True)}

    def predictions(self) -> dict[str, Tensor]:
        """What each seed's network predicts for the held-out images now: see `trainable.files.PREDICTIONS`."""
        (batches,) = (batches for name, batches in self._batches.items() if name != "train")
        by_name = {"labels": torch.cat([labels_n for _, labels_n in batches.in_order()]).to("cpu", torch.uint8)}
        for learner in self._learners:
            for kind, probabilities_nsk in zip(("", "flipped_"), learner.class_probabilities(batches), strict=True):
                confidences_ns, classes_ns = probabilities_nsk.max(2)
                for index, seed in enumerate(learner.seeds):
                    by_name[f"{seed_name(seed)}/{kind}classes"] = classes_ns[:, index].contiguous().to(torch.uint8)
                    by_name[f"{seed_name(seed)}/{kind}confidences"] = confidences_ns[:, index].contiguous().half()
        return by_name

    def weights(self) -> dict[str, Tensor]:
        """Copies of every seed's parameters and buffers on the CPU, by `seed_0/conv1.weight`."""
        return {
            f"{seed_name(seed)}/{name}": tensor.detach().cpu().contiguous().clone()
            for learner in self._learners
            for seed, state in zip(learner.seeds, learner.weights(), strict=True)
            for name, tensor in state.items()
        }

    def first_layers(self) -> dict[str, Tensor]:
        """The first seed's first two convolutions and the batch norm after the first, by `conv1.weight`; nothing for a
        network of one's own."""
        if self.config.has_own_network:
            return {}
        weights = entries_under(f"{seed_name(self.seeds[0])}/", self.weights())
        return {
            name: tensor for name, tensor in weights.items() if name.partition(".")[0] in ("conv1", "norm1", "conv2")
        }

    def step_losses(self) -> dict[str, Tensor]:
        """Every seed's mini-batch losses (T,) of all steps so far, by `seed_0`."""
        return {
            seed_name(seed): torch.cat([torch.empty(0), *(losses_ts[:, index] for losses_ts in learner.losses)])
            for learner in self._learners
            for index, seed in enumerate(learner.seeds)
        }

    def probes(self) -> dict[str, Tensor]:
        """Every seed's probes so far (probes, E, M), by `seed_0`. Empty where the training is not probed."""
        return {
            seed_name(seed): torch.stack([probe_sem[index] for probe_sem in learner.probes])
            for learner in self._learners
            for index, seed in enumerate(learner.seeds)
            if learner.probes
        }

    def state_dict(self) -> dict[str, Any]:
        """All that another process needs to continue. It holds only tensors and plain values, so that `torch.load`
        accepts it with `weights_only=True`."""
        return {
            "config": self.config.model_dump(mode="json"),
            "groups": self._groups,
            "device": self.device.type,
            "probe_every": self._probe_every,
            "history": [asdict(epoch) for epoch in self.history],
            "kernels": self.kernels,
            "correct": self._correct_ns,
            "learners": [learner.state_dict() for learner in self._learners],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises `ValueError` where it was saved with another config, with other seeds, with seeds fused otherwise, on
        another kind of device, or with another `probe_every`.
        """
        device = state.get("device", self.device.type)  # earlier versions did not save it
        saved = Config(**state["config"]), state["groups"], device, state["probe_every"]
        if saved != (self.config, self._groups, self.device.type, self._probe_every):
            config = saved[0].text(saved[0].canonical())
            raise ValueError(
                f"the checkpoint is of {config} with seeds {state['groups']} on {device}, probed every "
                f"{state['probe_every']} steps"
            )
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.kernels = list(state["kernels"])
        self._correct_ns = state["correct"]
        for learner, learnt in zip(self._learners, state["learners"], strict=True):
            learner.load_state_dict(learnt)

    def _learner(self, seeds: tuple[int, ...]) -> Learner | OwnLearner:
        if self.config.has_own_training:
            (seed,) = seeds
            return OwnLearner(self.config, seed, self._batches["train"], self.device)
        return Learner(self.config, seeds, self._batches["train"], self.device, self._probe_every)

    def _keep_kernels(self) -> None:
        kernels = self._learners[0].kernels()
        if kernels is not None:
            self.kernels.append(kernels)

    @property
    def _groups(self) -> list[list[int]]:
        """The seeds that are fused together."""
        return [list(learner.seeds) for learner in self._learners]

    def _correct_images(self, batches: Batches, raw: bool = False) -> Tensor:
        """All seeds' `Learner.correct_images`, side by side."""
        return torch.cat([learner.correct_images(batches, raw) for learner in self._learners], 1)
