"""Specs of trials, as a sweep hands them to its workers."""

from pathlib import Path
from typing import Any

from trainable.config import Config
from trainable.data import load
from trainable.trial import TrialSpec


def digits_spec(config: Config, folder: Path, **changes: Any) -> TrialSpec:
    """A trial that can be trained on the digits."""
    return trial_spec(config, folder, load("digits").fingerprint, **changes)


def trial_spec(config: Config, folder: Path, fingerprint: str = "f", **changes: Any) -> TrialSpec:
    """A trial of one seed, but for the changes, on data with that fingerprint."""
    fields = {
        "key": config.key(fingerprint), "name": "x", "config": config, "seeds": (0,), "fingerprint": fingerprint,
        "data_dir": None, "experiment_folder": str(folder),
    }  # fmt: skip
    return TrialSpec(**fields | changes)
