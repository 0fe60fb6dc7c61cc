"""The recorded arrays that the report reads: what was measured along trainings, trained layers and loss surfaces."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.networks import BATCH_NORM
from analysis.record.recorded import PROBED, Source
from analysis.record.replicates import Replicates
from trainable.files import CORRECT, EPOCH_KERNELS, SURFACE, TRACES, TRAINED, entries_under, seed_name
from trainable.measures import PREDICTED_CLASSES
from trainable.study import ResolvedTable

BN_EPS = 1e-5
"""What PyTorch's batch norm adds to the running variance."""
START = f"{EPOCH_KERNELS}0"
"""The first layer's kernels before the training."""
LAYERS = "layers.safetensors"
"""File of an exported record: `START` and `TRAINED` apart from the rest of `TRACES`, for the trials whose layers are
drawn."""


@dataclass(frozen=True)
class FirstLayers:
    """The first two layers of a trained network."""

    start: np.ndarray
    """The first layer's kernels before the training, (outputs, 3, 3, 3)."""
    trained: dict[str, np.ndarray]
    """The layers after the training, by PyTorch's names: `conv1.weight`, `norm1.weight`, `conv2.weight`, ..."""
    description: str
    """The data, the epochs, the precision and the seed."""


@dataclass(frozen=True)
class LossSurface:
    """The loss around trained weights, on a grid of A x B points along two directions."""

    alphas: np.ndarray
    """Distances along the first direction, (A,)."""
    betas: np.ndarray
    """Distances along the second direction, (B,)."""
    loss: np.ndarray
    """(B, A)."""
    error: np.ndarray
    """(B, A)."""
    images: int
    """The number of images that loss and error are means over."""

    @property
    def loss_along(self) -> np.ndarray:
        """The loss along the first direction, (A,)."""
        return self.loss[len(self.betas) // 2]

    @property
    def error_along(self) -> np.ndarray:
        """The error along the first direction, (A,)."""
        return self.error[len(self.betas) // 2]


def traced(source: Source, training: Replicates | None, kind: str) -> dict[int, np.ndarray]:
    """The traces of one kind (`STEP_LOSSES` or `PROBES`) by seed; empty where there are none.

    Where a seed was trained more than once, they are those of its first training that was traced.
    """
    by_seed: dict[int, np.ndarray] = {}
    for trial in training.trials if training else ():
        arrays = source.arrays(trial, TRACES)
        for seed in trial.seeds:
            if (name := kind + seed_name(seed)) in arrays:
                by_seed.setdefault(seed, arrays[name])
    return by_seed


def correct_images(source: Source, training: Replicates) -> dict[int, np.ndarray]:
    """Which of the N held-out images the last epoch classified correctly, bool (N,), by seed.

    A seed is left out where the training whose error counts (see `Replicates.by_seed`) has not kept them, and where
    what it has kept does not fit its error.
    """
    by_seed: dict[int, np.ndarray] = {}
    counted: set[int] = set()
    for trial in training.trials:
        bits = source.arrays(trial, CORRECT)
        for seed, series in trial.by_seed(training.config.held_out).items():
            if series and seed not in counted and (packed := bits.get(seed_name(seed))) is not None:
                right = np.unpackbits(packed)
                images = round(right.sum() / max(1 - series[-1][1], 1 / len(right)))
                if len(right) - images in range(8):  # bits that fill the last byte
                    by_seed[seed] = right[:images].astype(bool)
            counted |= {seed} if series else set()
    return dict(sorted(by_seed.items()))


def probe_interval(training: Replicates) -> int | None:
    """Every how many steps a probed training was probed; None where the record has lost it."""
    return next((int(trial.tags[PROBED]) for trial in training.trials if PROBED in trial.tags), None)


def first_layers(source: Source, keys: Iterable[str], trainings: Mapping[str, Replicates]) -> FirstLayers | None:
    """The layers of the first of these keys whose layers are recorded."""
    found = (layers_of(source, trainings[key]) for key in keys if key in trainings)
    return next(filter(None, found), None)


def layers_of(source: Source, training: Replicates) -> FirstLayers | None:
    """The layers of a config: of the lowest seed whose layers are recorded."""
    for trial in sorted(training.trials, key=lambda trial: trial.seeds):
        arrays = source.arrays(trial, LAYERS) or source.arrays(trial, TRACES)
        if layers := entries_under(TRAINED, arrays):
            description = f"{training.config.setting}, seed {trial.seeds[0]}"
            return FirstLayers(arrays[START], layers, description)
    return None


def drawn_layers(tables: Iterable[ResolvedTable]) -> set[str]:
    """The keys of the rows whose layers a report draws: the baseline, that with batch norm, and those of proofs."""
    return {
        row.key
        for table in tables
        for row in table.rows
        if row.config.ablation in ({}, BATCH_NORM) or table.measure == PREDICTED_CLASSES
    }


def fold_batch_norm(layers: Mapping[str, np.ndarray]) -> np.ndarray:
    """The first layer's kernels as the trained network applies them to an image, (outputs, 3, 3, 3).

    Each is scaled by weight / sqrt(running variance + eps) of the batch norm behind it. Raises `KeyError` for a network
    without batch norm.
    """
    scale = layers["norm1.weight"] / np.sqrt(layers["norm1.running_var"] + BN_EPS)
    return layers["conv1.weight"] * scale[:, None, None, None]


def loss_surface(source: Source, training: Replicates | None) -> LossSurface | None:
    """The loss around the weights of a training; None where it is not recorded."""
    recorded = (source.arrays(trial, SURFACE) for trial in (training.trials if training else ()))
    arrays = next(filter(None, recorded), None)
    if arrays is None:
        return None
    return LossSurface(
        alphas=arrays["alphas"],
        betas=arrays["betas"],
        loss=arrays["loss"],
        error=arrays["error"],
        images=int(arrays["images"]),
    )
