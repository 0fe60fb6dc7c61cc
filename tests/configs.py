"""Configs for quick trainings on the digits, which together have every feature."""

from dataclasses import replace

from trainable.config import Config
from trainable.data import Dataset

SMALL = {"data": "digits", "channels": (4, 8), "hidden": (32, 32)}
EVERYTHING = Config(
    **SMALL, protocol="B", batch_norm=True, bn_momentum=0.05, dropout=0.2, optimizer="adamw", schedule="one_cycle",
    lr=0.01, weight_decay=0.01, label_smoothing=0.1, flip=True, shift=2, epochs=4,
)  # fmt: skip
EVERYTHING_ELSE = Config(
    **SMALL, batch_norm=True, optimizer="momentum", nesterov=True, schedule="one_cycle", warmup=0.2, lr=0.02,
    weight_decay=0.01, decay_norm_and_bias=False, bn_bias_lr_factor=8, flip=True, flip_mode="alternating", cutout=8,
    ema_decay=0.95, epochs=4,
)  # fmt: skip
"""The features that `EVERYTHING` does not have."""


def few(data: Dataset, images: int = 400) -> Dataset:
    """The data with its first train images alone, for tests of trainings that need not learn much."""
    return replace(data, train_images=data.train_images[:images], train_labels=data.train_labels[:images])
