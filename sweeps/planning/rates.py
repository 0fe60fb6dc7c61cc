"""How long a training takes and what it costs, before anything is spent: its arithmetic over the rate that slots have
shown."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import log
from statistics import median

from analysis.prices import Prices
from sweeps.planning.resources import Allocation, Resources
from trainable.architecture import multiply_adds
from trainable.config import Config
from trainable.own_code.code_file import ARGUMENTS, CodeFile

RATES = {"cpu": 60e9, "cuda": 2e12}
"""Floating-point operations a second of one slot, where the record has no finished trial to learn from: for a CPU the
baseline on one core of a 2.3 GHz Xeon (measured), for a GPU a cautious guess (not measured)."""

TRIAL_OVERHEAD_S = 1.0
"""What a trial takes beside its epochs, about."""


@dataclass(frozen=True)
class Timing:
    """A finished trial's cost, from the record."""

    config: Config
    device: str
    """`cpu` or `cuda`."""
    seed_epoch_s: float
    """Seconds of one epoch of one seed."""
    device_name: str = ""
    """The model of the processor or GPU."""


@dataclass(frozen=True)
class NetworkSpeed:
    """How many images a slot has passed forward through a network in a second, as `epoch_images` counts them: the
    median of its timings."""

    config: Config
    """One with that network."""
    images_s: float


@dataclass(frozen=True)
class NetworkRate:
    """How fast a network has trained."""

    image_flops: float
    """The network's size: see `image_flops`."""
    flops: float
    """Floating-point operations a second of a slot: the median of its timings."""


@dataclass(frozen=True)
class Speedup:
    """How many times as fast something is on a model of a device."""

    factor: float
    device_name: str


@dataclass(frozen=True)
class Rates:
    """How fast slots of one device train: learnt from recorded timings on it, else the built-in rate."""

    device: str
    timings: tuple[Timing, ...] = ()
    """Those of other devices are not used."""

    def fuses_seeds(self, config: Config) -> bool:
        """Whether a trial trains all seeds of a config as one program. A CPU gains nothing from it: apart, the seeds
        fill more slots."""
        return self.device != "cpu" and not config.has_own_step

    @property
    def basis(self) -> str:
        """Where the rates come from, for the person who reads a forecast."""
        known = len(self._on_device)
        if known:
            return f"{known} recorded trials on {self.device}"
        return "the rate of one core of a Xeon" if self.device == "cpu" else "a guess: the record has no trial on a GPU"

    def training_s(self, config: Config, seeds: int) -> float:
        """Slot seconds of training that many seeds to the end. For none a network of one's own is not built."""
        if not seeds:
            return 0.0
        trials = min(seeds, 1) if self.fuses_seeds(config) else seeds
        return trials * TRIAL_OVERHEAD_S + seeds * config.epochs * epoch_flops(config) / self.flops(config)

    def evaluation_s(self, config: Config, images: int) -> float:
        """Slot seconds of evaluating one network on that many images."""
        return images * image_flops(config) / self.flops(config)

    def flops(self, config: Config) -> float:
        """Floating-point operations a second of a slot on that network: the median of the network's own timings. Where
        it has none, those of the network nearest in size, since large networks use a slot better than small ones."""
        if own := self._by_network.get(_network(config)):
            return own.images_s * image_flops(config)
        if not self._built_in:
            return RATES[self.device]
        size = image_flops(config)
        return min(self._built_in, key=lambda each: abs(log(each.image_flops / size))).flops

    def bf16_speedup(self) -> Speedup | None:
        """How many times as fast trainings in bf16 are as the same network's in fp32: the median over the networks of
        which the record has both on one model of the device. It is the model that trained last, of those that have such
        a pair; None where none has."""
        by_model: dict[str, list[Timing]] = {}
        for timing in reversed(self._on_device):  # the model that trained last comes first
            by_model.setdefault(timing.device_name, []).append(timing)
        for device_name, timings in by_model.items():
            seconds: dict[tuple, dict[str, list[float]]] = {}
            for timing in timings:
                *network, precision = _network(timing.config)
                seconds.setdefault(tuple(network), {}).setdefault(precision, []).append(timing.seed_epoch_s)
            ratios = [median(pair["fp32"]) / median(pair["bf16"]) for pair in seconds.values() if len(pair) == 2]
            if ratios:
                return Speedup(median(ratios), device_name)
        return None

    @cached_property
    def _by_network(self) -> dict[tuple, NetworkSpeed]:
        timings: dict[tuple, list[Timing]] = {}
        for timing in self._on_device:
            timings.setdefault(_network(timing.config), []).append(timing)
        return {
            network: NetworkSpeed(own[0].config, median(epoch_images(each.config) / each.seed_epoch_s for each in own))
            for network, own in timings.items()
        }

    @cached_property
    def _built_in(self) -> list[NetworkRate]:
        """The rates of trainings whose steps are the project's own. Only running the code of users, which a record may
        have from a stranger, would say how much there is to compute."""
        built_in = (each for each in self._by_network.values() if not each.config.has_own_step)
        sizes = ((image_flops(each.config), each.images_s) for each in built_in)
        return [NetworkRate(size, images_s * size) for size, images_s in sizes]

    @property
    def _on_device(self) -> list[Timing]:
        return [timing for timing in self.timings if timing.device == self.device and timing.seed_epoch_s > 0]


def image_flops(config: Config) -> float:
    """Floating-point operations of one image's forward pass. A network of one's own is built and tried for it; raises
    `trainable.own_code.loading.OwnCodeError` where it cannot be trained."""
    if isinstance(config.network, CodeFile):
        from trainable.own_code.network import forward_flops  # imports torch

        return forward_flops(config.network, config.network_arguments, config.data)
    return 2.0 * multiply_adds(config)


def epoch_flops(config: Config) -> float:
    """Floating-point operations of one seed's epoch."""
    return image_flops(config) * epoch_images(config)


def epoch_images(config: Config) -> int:
    """How many images of one seed's epoch are passed forward: a train image takes three passes' worth in training and
    one in evaluation, a held-out image one."""
    return 4 * config.train_images + config.held_out_images


def makespan(seconds: Iterable[float], slots: int) -> float:
    """Wall seconds of trials that start longest first on that many equal slots."""
    busy_until = [0.0] * max(slots, 1)
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(busy_until, busy_until[0] + duration)
    return max(busy_until)


def hourly_price(prices: Prices, allocation: Allocation) -> float:
    """Money for an hour of one slot, with its part of the head while all slots are at work. See `cost`."""
    return cost(prices, allocation.trial, 3600, 3600 / allocation.slots)


def cost(prices: Prices, trial: Resources, slot_s: float, wall_s: float) -> float:
    """Money for that many slot seconds of trials within that many wall seconds.

    The time in which nodes start, or wait to be let go, is not in it.
    """
    return (slot_s * prices.slot(trial.cpus, trial.gpus) + wall_s * (prices.head or 0)) / 3600


def _network(config: Config) -> tuple:
    built = config.network, config.network_arguments, config.channels, config.hidden, config.batch_norm
    own = [
        (field, getattr(config, field), getattr(config, ARGUMENTS[field]))
        for field in ("loss", "optimizer", "training")
        if field in config.own_code
    ]
    return config.data.name, config.data.shape, *built, *own, config.precision
