"""Readers: each form in which the data is found, decoded to arrays and checked. Nothing is cached here."""

import io
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_CLASS = {"train": 5000, "test": 1000}
CHANNEL_MEAN, CHANNEL_STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
"""Of CIFAR-10's train split in grey levels; every copy of it, re-encoded or not, is within 2 of these."""


NamedFile = tuple[str, io.BytesIO | Path]
"""An encoded image and what to call it in a message."""


@dataclass(frozen=True)
class Decoded:
    """A data set as it was read: images (N, 32, 32, 3) uint8 and labels (N,) uint8 of both splits."""

    form: str
    """`official`, `embedded`, or the layout and the encoding of its images: `parquet of JPEG`, `folders of PNG`."""
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


class DataError(ValueError):
    """The data is missing or is not what it should be; the message names the file and what is wrong."""


def find_form(folder: Path) -> str | None:
    """The form of CIFAR-10 in a folder: `official`, `parquet`, `folders`, or None where there is none of them."""
    if any((folder / name).exists() for name in ("cifar-10-batches-py", "cifar-10-python.tar.gz")):
        return "official"
    if any(folder.rglob("*.parquet")):
        return "parquet"
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return "folders"
    return None


def read_cifar10(folder: Path, download: bool = False) -> Decoded:
    """CIFAR-10 from a folder in any of its forms; with `download`, fetched into it first.

    Raises `DataError` for a folder that holds something else or is damaged.
    """
    form = "official" if download else find_form(folder)
    if form is None:
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:4]) or "nothing"
        raise DataError(
            f"{folder}: no CIFAR-10 here (found {found}); expected cifar-10-batches-py/ or cifar-10-python.tar.gz, "
            "*.parquet files, or train/ and test/ with a folder for each class"
        )
    if form == "official":
        decoded = _read_official(folder, download)
    else:
        list_images = _list_parquet if form == "parquet" else _list_class_folders
        (train, train_labels), (test, test_labels) = (list_images(folder, split) for split in PER_CLASS)
        images, encodings = _decode([*train, *test])
        form = f"{form} of {' and '.join(sorted(encodings))}"
        decoded = Decoded(form, images[: len(train)], train_labels, images[len(train) :], test_labels)
    _check_cifar10(folder, decoded)
    return decoded


def read_digits() -> Decoded:
    """scikit-learn's 1,797 handwritten digits, 8x8 enlarged fourfold to grey RGB; a fixed stratified fifth is test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey.repeat(4, axis=1).repeat(4, axis=2)[..., None], 3, axis=3)
    labels = digits.target.astype(np.uint8)
    train, test = stratified_split(labels, 0.2)
    return Decoded("embedded", images[train], labels[train], images[test], labels[test])


def stratified_split(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (kept, held out): a fixed random `fraction` of every class is held out, the same on every call."""
    generator = np.random.Generator(np.random.PCG64(0))
    held = np.concatenate(
        [
            generator.permutation(members)[: round(len(members) * fraction)]
            for members in (np.flatnonzero(labels == label) for label in np.unique(labels))
        ]
    )
    return np.setdiff1d(np.arange(len(labels)), held), np.sort(held)


def _read_official(folder: Path, download: bool) -> Decoded:
    """Through torchvision, which checks the MD5 of every file; checked here first to name the file at fault."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity, extract_archive

    if not (download or (folder / CIFAR10.base_folder).is_dir()):
        archive = folder / CIFAR10.filename
        if not check_integrity(str(archive), CIFAR10.tgz_md5):
            raise DataError(f"{archive}: the checksum is not that of the official CIFAR-10 archive")
        with tempfile.TemporaryDirectory() as extracted:
            extract_archive(str(archive), extracted)
            return _read_official(Path(extracted), download=False)
    if not download:
        for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list):
            file = folder / CIFAR10.base_folder / name
            if not check_integrity(str(file), md5):
                problem = "the checksum is not that of the official CIFAR-10 batch" if file.exists() else "no such file"
                raise DataError(f"{file}: {problem}")
    splits: list[np.ndarray] = []
    for train in (True, False):
        try:
            split = CIFAR10(str(folder), train=train, download=download)
        except Exception as error:  # torchvision raises RuntimeError, URLError, EOFError, tarfile's errors, ...
            raise DataError(f"the official CIFAR-10 batches cannot be fetched: {error}") from error
        splits += [split.data, np.asarray(split.targets, dtype=np.uint8)]
    return Decoded("official", *splits)


def _list_parquet(folder: Path, split: str) -> tuple[list[NamedFile], np.ndarray]:
    from pyarrow import ArrowException, parquet

    files = sorted(path for path in folder.rglob("*.parquet") if path.name.startswith(split))
    if not files:
        raise DataError(f"{folder}: no {split}*.parquet file")
    images: list[NamedFile] = []
    labels: list[np.ndarray] = []
    for file in files:
        try:
            table = parquet.read_table(file).combine_chunks()
        except (ArrowException, OSError) as error:
            raise DataError(f"{file}: not a readable Parquet file: {error}") from error
        column = next((name for name in ("img", "image") if name in table.column_names), None)
        if column is None or "label" not in table.column_names:
            raise DataError(f"{file}: columns are {table.column_names}; expected img (or image) and label")
        try:
            blobs = table.flatten()[f"{column}.bytes"].to_pylist()
            labels.append(table["label"].to_numpy().astype(np.int64))
        except (KeyError, ValueError) as error:
            raise DataError(f"{file}: {column} must be struct<bytes, path> and label an integer: {error}") from error
        outside = labels[-1][(labels[-1] < 0) | (labels[-1] >= len(CLASSES))]
        if len(outside):
            raise DataError(f"{file}: label {outside[0]} is not one of 0 to {len(CLASSES) - 1}")
        images += [(f"{file} row {row}", io.BytesIO(blob or b"")) for row, blob in enumerate(blobs)]
    if not images:
        raise DataError(f"{folder}: the {split}*.parquet files have no rows")
    return images, np.concatenate(labels).astype(np.uint8)


def _list_class_folders(folder: Path, split: str) -> tuple[list[NamedFile], np.ndarray]:
    found = sorted(path.name for path in (folder / split).iterdir() if path.is_dir())
    if found != sorted(CLASSES):
        raise DataError(
            f"{folder / split}: class folders are {', '.join(found) or 'none'}; expected {', '.join(CLASSES)}"
        )
    files = [(path, label) for label, name in enumerate(CLASSES) for path in sorted((folder / split / name).iterdir())]
    if not files:
        raise DataError(f"{folder / split}: the class folders are empty")
    return [(str(path), path) for path, _ in files], np.asarray([label for _, label in files], dtype=np.uint8)


def _decode(files: Iterable[NamedFile]) -> tuple[np.ndarray, set[str]]:
    """The images, and the encodings found among them, as Pillow names them."""
    images, encodings = [], set()
    for name, file in files:
        try:
            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"))
                encodings.add(image.format or "unknown")
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise DataError(f"{name}: not a readable image: {error}") from error
        if pixels.shape != (32, 32, 3):
            raise DataError(f"{name}: the image is {pixels.shape[1]}x{pixels.shape[0]} pixels; expected 32x32")
        images.append(pixels)
    return np.stack(images), encodings


def _check_cifar10(folder: Path, decoded: Decoded) -> None:
    """No file is trusted for being where CIFAR-10 should be: class counts and pixel statistics must be CIFAR-10's."""
    for split, labels in (("train", decoded.train_labels), ("test", decoded.test_labels)):
        counts = np.bincount(labels, minlength=len(CLASSES)).tolist()
        if counts != [PER_CLASS[split]] * len(CLASSES):
            raise DataError(
                f"{folder}: the {split} split has {sum(counts):,} images, by class {counts}; "
                f"CIFAR-10 has {PER_CLASS[split]:,} of each class"
            )
    sample = decoded.train_images[::10]
    mean, std = sample.mean(axis=(0, 1, 2)), sample.std(axis=(0, 1, 2))
    if np.abs(mean - CHANNEL_MEAN).max() > 2 or np.abs(std - CHANNEL_STD).max() > 2:
        raise DataError(
            f"{folder}: these are not CIFAR-10's pixels: channel means {mean.round(1).tolist()} and deviations "
            f"{std.round(1).tolist()}, CIFAR-10 has {list(CHANNEL_MEAN)} and {list(CHANNEL_STD)}"
        )
