"""Locates a data set, decodes it once per node into memory-mapped files and fingerprints it. Imports no torch.

`load` is what a training calls. The decoded files live in the user's cache under a name that identifies their source
(its files, sizes and times). All trials on a node therefore share the same memory pages, and a changed source is
decoded again. So is a source whose decoded files no longer match their fingerprint.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import assert_never

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from trainable import sources
from trainable.config import VALIDATION_FRACTION, Config, Protocol
from trainable.create_once import create_once
from trainable.errors import DataError
from trainable.fetch import fetch
from trainable.image_set import BUILT_IN, CIFAR10, DIGITS, NAMES, ImageSet, SetName
from trainable.problem import first_problem, unknown
from trainable.sources import Decoded

UNKNOWN = "unknown"
"""In place of the fingerprint of images that are not here."""

_LAYOUT_VERSION = 4  # raise it when a source would be decoded or laid out differently
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")

_intact: set[Path] = set()
"""Folders of decoded files that this process has compared with their fingerprint."""


class DataSource(BaseModel):
    """Which images a data set has, and where they were read from."""

    name: str
    fingerprint: str
    """`UNKNOWN` in a dry run where CIFAR-10 is yet to be downloaded."""
    form: str
    """`official`, `parquet of JPEG`, ...: see `trainable.sources.Decoded`."""
    classes: int
    size: int
    """Height and width of an image in pixels."""
    train: int
    """Images in the train split."""
    test: int

    @classmethod
    def of(cls, images: ImageSet, fingerprint: str, form: str) -> "DataSource":
        """That of a data set."""
        counts = {"classes": len(images.classes), "train": sum(images.train), "test": sum(images.test)}
        return cls(name=images.name, fingerprint=fingerprint, form=form, size=images.size, **counts)


@dataclass(frozen=True)
class Split:
    """Some rows of an array of images: those that `index` lists, in that order."""

    images: np.ndarray
    """uint8 (rows, P, P, 3), with P pixels in height and width."""
    labels: np.ndarray
    """uint8 (rows,)."""
    index: np.ndarray
    """int64 (N,): the rows that belong to the split."""

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Dataset:
    """A data set whose arrays are memory-mapped, so that the processes of a node share them.

    Images are uint8 (N, P, P, 3), with P pixels in height and width, and labels uint8 (N,).
    """

    name: str
    form: str
    """The form that it was read from; see `Decoded.form`."""
    fingerprint: str
    """The first 16 hexadecimal digits of the SHA-256 of all pixels and labels, in order."""
    classes: tuple[str, ...]
    """The names of the classes, by label."""
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def splits(self, protocol: Protocol) -> dict[str, Split]:
        """The splits of a protocol by name. A: `train` (all of it) and `test`. B: `train` and `val`, both from the
        train split; the test split is not used."""
        all_rows = np.arange(len(self.train_labels))
        match protocol:
            case "A":
                return {"train": Split(self.train_images, self.train_labels, all_rows), "test": self.test}
            case "B":
                kept, held_out = sources.stratified_split(self.train_labels, VALIDATION_FRACTION)
                return {
                    "train": Split(self.train_images, self.train_labels, kept),
                    "val": Split(self.train_images, self.train_labels, held_out),
                }
            case unknown:
                assert_never(unknown)

    @property
    def image_set(self) -> ImageSet:
        """What a config says of it. Raises `DataError` for images that cannot be trained on: see `ImageSet`."""
        train, test = (
            tuple(np.bincount(labels, minlength=len(self.classes)).tolist())
            for labels in (self.train_labels, self.test_labels)
        )
        try:
            return ImageSet(
                name=self.name, classes=self.classes, size=self.train_images.shape[1], train=train, test=test
            )
        except ValidationError as error:
            raise DataError(f"data {self.name}: {first_problem(error)}") from error

    @property
    def test(self) -> Split:
        """The whole test split."""
        return Split(self.test_images, self.test_labels, np.arange(len(self.test_labels)))


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """The data set of that name; the first call on a node decodes it.

    CIFAR-10 is looked for in `data_dir` (a folder, or the URI of one in an object store), then in `$CIFAR10_DIR`, then
    in the user's cache. Otherwise it is downloaded into the cache. Images of another name are in `data_dir`, as
    `trainable.sources.read_images` has them. Raises `DataError` where the name is not allowed, the data cannot be
    obtained, or a folder holds something else.
    """
    folder = prepare(name, data_dir)
    about = json.loads((folder / "about.json").read_text())
    arrays = {each: np.load(folder / f"{each}.npy", mmap_mode="c") for each in _ARRAYS}
    classes = tuple(about["classes"])
    return Dataset(name=name, form=about["form"], fingerprint=about["fingerprint"], classes=classes, **arrays)


@lru_cache(maxsize=1)  # to look at each file of a large folder again takes longer than a short trial
def load_same(name: str, data_dir: str | Path | None, fingerprint: str) -> Dataset:
    """The data set of that name, if it has that fingerprint. A process looks for it once. Raises `DataError` as `load`
    does, and where this node's data has another fingerprint."""
    dataset = load(name, data_dir)
    if dataset.fingerprint != fingerprint:
        raise DataError(
            f"{platform.node()}: the data here has fingerprint {dataset.fingerprint}, the sweep's has {fingerprint}; "
            "give every node the same data"
        )
    return dataset


def check_same(config: Config, data: Dataset) -> None:
    """Raises `DataError` for other data than the config names. A part of it, of fewer images, will do."""
    named, given = ((each.name, each.size, each.classes) for each in (config.data, data.image_set))
    if named != given:
        texts = (f"{name} with images of {size} pixels in {len(of)} classes" for name, size, of in (named, given))
        raise DataError(f"the config's data is {', the given data '.join(texts)}: give the config data=data.image_set")


def describe(name: str, data_dir: str | Path | None = None, download: bool = True) -> DataSource | None:
    """The data set's fingerprint and form. Decodes the data set if that has not been done on this node.

    Without `download`, returns None where the data set would have to be downloaded first. Raises `DataError` as `load`
    does.
    """
    if not download and name == CIFAR10.name and _locate(data_dir) is None:
        return None
    dataset = load(name, data_dir)
    return DataSource.of(dataset.image_set, dataset.fingerprint, dataset.form)


def find(name: str, data_dir: str | Path | None = None) -> ImageSet:
    """What a config says of the data set of that name. A built-in one is not looked for, another one is decoded. Raises
    `DataError` as `load` does."""
    return BUILT_IN[name] if name in BUILT_IN else load(name, data_dir).image_set


def prepare(name: str, data_dir: str | Path | None = None) -> Path:
    """The folder of the decoded data set. Many processes may call this at once: one of them does the work. Raises
    `DataError` as `load` does."""
    match name:
        case DIGITS.name:
            return _prepare(name, sources.read_digits)
        case CIFAR10.name:
            folder = _locate(data_dir) or _download()
            return _prepare(_source_id(name, folder), lambda: sources.read_cifar10(folder))
        case _:
            folder = _own(name, data_dir)
            return _prepare(_source_id("images", folder), lambda: sources.read_images(folder))


def cache() -> Path:
    """The folder for decoded and downloaded data: `ablation-sweeps` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablation-sweeps"


def _own(name: str, data_dir: str | Path | None) -> Path:
    """The folder of a data set of the user's own."""
    try:
        TypeAdapter(SetName).validate_python(name)
    except ValidationError as error:
        raise DataError(
            f"--data {name!r}: must be {' or '.join(NAMES)}, or for images of your own a name of at most 40 small "
            "letters, digits and hyphens, which begins with a letter"
        ) from error
    if not data_dir:
        raise DataError(f"--data {name!r} {unknown(name, NAMES)}; images of your own need --data-dir FOLDER, too")
    return _source(str(data_dir), "--data-dir")


def _locate(data_dir: str | Path | None) -> Path | None:
    """The folder that should hold CIFAR-10, or None where the user names none and the cache has no copy."""
    for setting, folder in (("--data-dir", data_dir), ("$CIFAR10_DIR", os.environ.get("CIFAR10_DIR"))):
        if folder:
            path = _source(str(folder), setting)
            return path.parent if path.name == "cifar-10-batches-py" else path
    return _downloaded() if _downloaded().is_dir() else None


def _source(folder: str, setting: str) -> Path:
    """The folder that a setting names; a copy of it where it is in an object store."""
    if "://" in folder:
        return fetch(folder, cache() / "fetched", setting)
    try:
        path = Path(folder).expanduser().resolve()
    except (RuntimeError, ValueError) as error:  # the home of a user that is not known, a NUL character
        raise DataError(f"{setting} {folder}: {error}") from error
    if not path.is_dir():
        raise DataError(f"{setting} {folder}: no such folder")
    if not any(path.iterdir()):
        raise DataError(f"{setting} {folder}: the folder is empty")
    return path


def _downloaded() -> Path:
    """Where a download of CIFAR-10 is kept. It is there whole or not at all."""
    return cache() / "downloaded" / "cifar10"


def _download() -> Path:
    """Download CIFAR-10 into the cache, once on each machine, and return the folder that holds it."""
    try:
        return create_once(_downloaded(), sources.download_cifar10)
    except DataError as error:
        raise DataError(
            f"CIFAR-10 was not found: no --data-dir, no $CIFAR10_DIR, none in the cache {_downloaded()}, and the "
            f"download failed ({error}). Name a folder that holds it, or try the embedded data with --data digits"
        ) from error


def _source_id(kind: str, folder: Path) -> str:
    """A name for a source folder, read as that kind of data, that changes with its files."""
    files = [path for path in sources.list_visible(folder, "**/*") if path.is_file()]
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return f"{kind}-{hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]}"


def _prepare(source_id: str, read: Callable[[], Decoded]) -> Path:
    """The folder of a source's decoded files; `read` is called where the cache has none, or damaged ones."""

    def write(folder: Path) -> None:
        decoded = read()
        arrays = [getattr(decoded, name) for name in _ARRAYS]
        for name, array in zip(_ARRAYS, arrays, strict=True):
            np.save(folder / f"{name}.npy", array)
        about = {"form": decoded.form, "fingerprint": _fingerprint(arrays), "classes": decoded.classes}
        (folder / "about.json").write_text(json.dumps(about))

    return create_once(cache() / "prepared" / f"{source_id}-v{_LAYOUT_VERSION}", write, _is_intact)


def _is_intact(folder: Path) -> bool:
    """Whether the decoded files match their fingerprint. They are read whole, once in each process."""
    if folder not in _intact:
        try:
            arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS]
            about = json.loads((folder / "about.json").read_text())
            is_whole = about["classes"] and all(array.dtype == np.uint8 for array in arrays)
            if is_whole and about["fingerprint"] == _fingerprint(arrays):
                _intact.add(folder)
        except (OSError, EOFError, ValueError, TypeError, KeyError):
            return False
    return folder in _intact


def _fingerprint(arrays: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
