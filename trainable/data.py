"""The data set of a training: found, decoded once a node into memory-mapped files, fingerprinted. No torch here.

`load` is what a training uses. The prepared files live in the user's cache under a name that identifies their source
(its files, sizes and times), so N trials on a node map the same pages and a changed source is prepared anew.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np
from filelock import FileLock

from trainable import sources
from trainable.config import Protocol
from trainable.create_once import create_once
from trainable.fetch import fetch
from trainable.sources import DataError, Decoded

NAMES = ("cifar10", "digits")
VALIDATION_FRACTION = 0.1
"""Share of every class that protocol B holds out of the train split."""

_FORMAT = 2  # raise it when a source would be decoded or laid out differently
_PARTS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Split:
    """`images` (N, 32, 32, 3) uint8 and `labels` (N,) uint8, of which the rows in `index` (M,) are used."""

    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Dataset:
    """A data set, memory-mapped: every process on a node shares its pages."""

    name: str
    form: str
    """In what form it was found: see `Decoded`."""
    fingerprint: str
    """The first 16 hexadecimal digits of the SHA-256 of its pixels and labels, in their order."""
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def splits(self, protocol: Protocol) -> dict[str, Split]:
        """Protocol A: `train` (all of it) and `test`. Protocol B: `train` and `val`, the test split left alone."""
        everything = np.arange(len(self.train_labels))
        match protocol:
            case "A":
                return {"train": Split(self.train_images, self.train_labels, everything), "test": self.test}
            case "B":
                kept, held = sources.stratified_split(self.train_labels, VALIDATION_FRACTION)
                return {
                    "train": Split(self.train_images, self.train_labels, kept),
                    "val": Split(self.train_images, self.train_labels, held),
                }
            case unknown:
                assert_never(unknown)

    @property
    def test(self) -> Split:
        """The whole test split."""
        return Split(self.test_images, self.test_labels, np.arange(len(self.test_labels)))


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """The data set of that name, prepared on this node if it is not yet.

    CIFAR-10 is looked for in `data_dir` (a folder, or a URI of one in an object store), then `$CIFAR10_DIR`, then the
    user's cache, and is downloaded into the cache as a last resort. Raises `DataError` where it is nowhere, or where a
    place holds something else.
    """
    folder = prepare(name, data_dir)
    about = json.loads((folder / "about.json").read_text())
    arrays = {part: np.load(folder / f"{part}.npy", mmap_mode="c") for part in _PARTS}
    return Dataset(name=name, form=about["form"], fingerprint=about["fingerprint"], **arrays)


def load_same(name: str, data_dir: str | Path | None, fingerprint: str) -> Dataset:
    """The data set of that name and fingerprint. Raises `DataError` as `load`, and where this node has another."""
    found = load(name, data_dir)
    if found.fingerprint != fingerprint:
        raise DataError(
            f"{platform.node()}: the data here has fingerprint {found.fingerprint}, the sweep's has {fingerprint}; "
            "give every node the same data"
        )
    return found


def fingerprint(name: str, data_dir: str | Path | None = None, download: bool = True) -> tuple[str, str] | None:
    """(fingerprint, form) of the data set, prepared if need be; None where only a download could tell and it is off."""
    if not download and name == "cifar10" and _locate(data_dir) is None:
        return None
    about = json.loads((prepare(name, data_dir) / "about.json").read_text())
    return about["fingerprint"], about["form"]


def prepare(name: str, data_dir: str | Path | None = None) -> Path:
    """The folder of the prepared data set. Safe to call from many processes at once: one of them does the work."""
    if name not in NAMES:
        raise DataError(f"data {name!r} is unknown; allowed: {', '.join(NAMES)}")
    if name == "digits":
        return _prepare("digits", sources.read_digits)
    folder = _locate(data_dir)
    if folder is not None:
        return _prepare(_source_id(folder), lambda: sources.read_cifar10(folder))
    return _download()


def cache() -> Path:
    """The folder of prepared and downloaded data: `ablation-sweeps` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablation-sweeps"


def _locate(data_dir: str | Path | None) -> Path | None:
    """The folder that should hold CIFAR-10, or None where no place is named and the cache has none."""
    for place, folder in (("--data-dir", data_dir), ("$CIFAR10_DIR", os.environ.get("CIFAR10_DIR"))):
        if folder and "://" in str(folder):
            return fetch(str(folder), cache() / "fetched")
        if folder:
            path = Path(folder).expanduser().resolve()
            if not path.is_dir():
                raise DataError(f"{place} {folder}: no such folder")
            if not any(path.iterdir()):
                raise DataError(f"{place} {folder}: the folder is empty")
            return path.parent if path.name == "cifar-10-batches-py" else path
    cached = cache() / "cifar10"
    return cached if cached.is_dir() and sources.find_form(cached) else None


def _download() -> Path:
    folder = cache() / "cifar10"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(cache() / "download.lock"):
        try:
            decoded = sources.read_cifar10(folder, download=True)
        except DataError as error:
            raise DataError(
                f"CIFAR-10 was not found: no --data-dir, no $CIFAR10_DIR, none in the cache {folder}, and the download "
                f"failed ({error}). Name a folder that holds it, or try the embedded data with --data digits"
            ) from error
    return _prepare(_source_id(folder), lambda: decoded)


def _source_id(folder: Path) -> str:
    """A name for a source folder that changes with its files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return "cifar10-" + hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]


def _prepare(source: str, read: Callable[[], Decoded]) -> Path:
    def write(folder: Path) -> None:
        decoded = read()
        arrays = [getattr(decoded, part) for part in _PARTS]
        for part, array in zip(_PARTS, arrays, strict=True):
            np.save(folder / f"{part}.npy", array)
        about = {"form": decoded.form, "fingerprint": _fingerprint(arrays)}
        (folder / "about.json").write_text(json.dumps(about))

    return create_once(cache() / "prepared" / f"{source}-v{_FORMAT}", write)


def _fingerprint(arrays: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
