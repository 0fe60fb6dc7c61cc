"""Trials whose files in the storage a test damages."""

from pathlib import Path

from tests.specs import digits_spec
from trainable.config import Config
from trainable.storage import TrialStorage
from trainable.trial import TrialSpec

CONFIG = Config(data="digits", channels=(2, 4), hidden=(8, 8), optimizer="adamw", batch_size=512, epochs=3)


def make_spec(folder: Path, **changes: object) -> TrialSpec:
    return digits_spec(CONFIG, folder, **{"name": "baseline", "report_at": (1, 2)} | changes)


def storage_of(spec: TrialSpec) -> TrialStorage:
    return TrialStorage(spec.experiment_folder, spec.key, spec.seeds)


def stored(spec: TrialSpec, name: str) -> Path:
    """A file of the trial on the disk."""
    return next(Path(spec.experiment_folder).glob(f"trials/*/{name}"))


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
