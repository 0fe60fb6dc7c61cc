"""A training of one's own: an object that trains for an epoch at a time, and says which class an image has.

The errors are computed here. The user's code gets no held-out label.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from trainable.batches import Batches
from trainable.config import Config
from trainable.device import random_numbers
from trainable.learner import epoch_seed
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import OwnCodeError, call_own, problems_of
from trainable.trial import OWN

IMAGES = 2000
"""Images of 32x32 pixels that are classified at a time."""
LOSS = "loss"
"""The name of the mean training loss among an epoch's numbers."""
NUMBER_NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,59}")
MOST_NUMBERS = 50
METHODS, STATE_METHODS = ("train_epoch", "predict"), ("state_dict", "load_state_dict")
TOLERANCE = 1e-2
"""How far from 1 an image's probabilities may sum: those of bfloat16 do."""


class OwnLearner:
    """One seed's training by the object that the file's `training` returns. It takes the place of a `Learner`.

    The object has `train_epoch(epoch)`, counted from 1, which returns the mean training loss, numbers by name, of which
    `loss` is that, or None; and `predict(images)`, which returns class probabilities (N, K). Where one of an image is
    no finite number, as after a training that diverged, the image counts as if all classes were alike. The object may
    have `state_dict()` and `load_state_dict(state)`, which gets tensors on the CPU. Images are uint8 (N, 3, P, P), and
    labels int64 (N,), on the device.

    Each method raises `OwnCodeError` where the file fails or returns something else.
    """

    def __init__(self, config: Config, seed: int, batches: Batches, device: torch.device) -> None:
        assert isinstance(config.training, CodeFile)
        self.seeds = (seed,)
        self.losses: list[Tensor] = []
        """Empty, as are `probes`: nothing is measured within an epoch."""
        self.probes: list[Tensor] = []
        self._file, self._classes, self._device = config.training, len(config.data.classes), device
        self._at_a_time = max(1, IMAGES * 32**2 // config.data.size**2)
        (images_nchw,) = batches.as_stored(batches.size)
        given = images_nchw, batches.labels_n, seed, config.epochs, device
        with self._running("", epoch=0):
            self._made = call_own("training", self._file, config.training_arguments, *given)
        lacking, kept = ([name for name in names if not self._has(name)] for names in (METHODS, STATE_METHODS))
        if lacking:
            found = type(self._made).__name__
            raise self._error(f"the object that it returns must have a method {lacking[0]}; it returned {found}")
        if len(kept) == 1:
            raise self._error(f"the object that it returns must have {' and '.join(STATE_METHODS)}, or neither")

    @property
    def can_be_saved(self) -> bool:
        """Whether the object can save its state, so that another process can continue."""
        return self._has(STATE_METHODS[0])

    def train(self, epoch: int) -> dict[str, list[float]]:
        """Train for one epoch, counted from 1. Returns what the code tells of it: `train_loss`, and its other numbers
        with `OWN` before their names."""
        with self._running(f"train_epoch({epoch}): ", epoch):
            told = self._made.train_epoch(epoch)
        named = dict(told) if isinstance(told, Mapping) else {LOSS: told}
        if named.get(LOSS, 0) is None:
            del named[LOSS]
        numbers = {name: [self._number(name, value)] for name, value in named.items()}
        if len(numbers) > MOST_NUMBERS:
            raise self._error(f"train_epoch returned {len(numbers)} numbers; allowed: {MOST_NUMBERS}")
        for name in numbers:
            if not isinstance(name, str) or not NUMBER_NAME.fullmatch(name):
                allowed = "letters, digits and _, at most 60, the first a letter"
                raise self._error(f"train_epoch returned a number named {name!r}; allowed: {allowed}")
        return {"train_loss" if name == LOSS else OWN + name: number for name, number in numbers.items()}

    def _number(self, name: str, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise self._error(f"train_epoch returned {str(value)[:60]!r} for {name}, which is no number") from error

    def correct_images(self, batches: Batches, raw: bool = False) -> Tensor:
        """Which images of a split are classified correctly: bool (N, 1), on the CPU."""
        return (self._predict(batches).argmax(1) == batches.labels_n.cpu())[:, None]

    def class_probabilities(self, batches: Batches) -> tuple[Tensor, Tensor]:
        """The class probabilities (N, 1, K) for a split, plain and with test-time flips: see
        `trainable.evaluate.class_probabilities`."""
        plain_nk, mirrored_nk = self._predict(batches), self._predict(batches, mirrored=True)
        return plain_nk[:, None], ((plain_nk + mirrored_nk) / 2)[:, None]

    def kernels(self) -> None:
        """None: see `Learner.kernels`."""

    def weights(self) -> list[dict[str, Tensor]]:
        """Nothing: what the object has learned is its own."""
        return [{}]

    def state_dict(self) -> dict[str, Any]:
        """What the object saves of itself."""
        with self._running("state_dict(): ", epoch=0):
            return {"own": self._made.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        with self._running("load_state_dict(state): ", epoch=0):
            self._made.load_state_dict(state["own"])

    def _predict(self, batches: Batches, mirrored: bool = False) -> Tensor:
        """The class probabilities (N, K) of a split's images, or of their mirror images, on the CPU."""
        return torch.cat(
            [self._probabilities(images_nchw.flip(3) if mirrored else images_nchw)
             for images_nchw in batches.as_stored(self._at_a_time)]
        )  # fmt: skip

    def _probabilities(self, images_nchw: Tensor) -> Tensor:
        with self._running(f"predict(images {tuple(images_nchw.shape)}): ", epoch=0):
            found_nk = torch.as_tensor(self._made.predict(images_nchw)).detach().float().cpu().clone()
        expected = len(images_nchw), self._classes
        if found_nk.shape != expected:
            raise self._error(
                f"predict must return probabilities {expected}, a column for each class, and returned "
                f"{tuple(found_nk.shape)}"
            )
        found_nk[~found_nk.isfinite().all(1)] = 1 / self._classes
        if not (found_nk >= 0).all() or not torch.allclose(found_nk.sum(1), torch.ones(len(found_nk)), atol=TOLERANCE):
            lowest, sums = found_nk.min(), found_nk.sum(1)
            raise self._error(
                f"predict must return probabilities, which are from 0 on and sum to 1 for each image: the lowest is "
                f"{lowest:.3g}, and the sums are {sums.min():.3g} to {sums.max():.3g}"
            )
        return found_nk

    @contextmanager
    def _running(self, doing: str, epoch: int) -> Iterator[None]:
        """Within it torch's random numbers are a function of seed and epoch, and what fails is said well."""
        with random_numbers(epoch_seed(*self.seeds, epoch), self._device), problems_of("training", self._file, doing):
            yield

    def _has(self, method: str) -> bool:
        return callable(getattr(self._made, method, None))

    def _error(self, problem: str) -> OwnCodeError:
        return OwnCodeError.of("training", self._file, problem)
