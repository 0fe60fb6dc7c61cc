"""Readers that decode a data set from each form that it is distributed in, and check it. Nothing is cached here."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import numpy as np

from trainable.encoded import (
    SPLITS,
    Layout,
    NamedFile,
    decode,
    find_classes,
    first_names,
    list_images,
    list_visible,
    read_image,
)
from trainable.errors import DataError
from trainable.image_set import CIFAR10, DIGITS, LARGEST, MOST_CLASSES, SMALLEST

CHANNEL_MEAN, CHANNEL_STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
"""Statistics of CIFAR-10's train split, in grey levels from 0 to 255."""
TOLERANCE = {"train": 2, "test": 4}
"""How far those of a copy, re-encoded or not, lie from them at most. Those of the test split differ by up to 1."""

ANOTHER_NAME = "images of your own need a name of their own: --data NAME"

Form = Literal["official"] | Layout
"""`official`: the Python batches of CIFAR-10 or their archive."""


@dataclass(frozen=True)
class Decoded:
    """A data set decoded to arrays: images uint8 (N, P, P, 3) and labels uint8 (N,) of both splits."""

    form: str
    """Where it was read from: `official`, `embedded`, or layout and image encoding, such as `parquet of JPEG`."""
    classes: tuple[str, ...]
    """The names of the classes, by label."""
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def find_form(folder: Path) -> Form | None:
    """The form in which a folder holds images, or None where it holds none. The content is not checked."""
    if any((folder / name).exists() for name in ("cifar-10-batches-py", "cifar-10-python.tar.gz")):
        return "official"
    if list_visible(folder, "**/*.parquet"):
        return "parquet"
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return "folders"
    return None


def download_cifar10(folder: Path) -> None:
    """Download CIFAR-10 in its official form into a folder. Raises `DataError` where that fails."""
    from torchvision.datasets import CIFAR10

    try:
        CIFAR10(str(folder), download=True)
    except Exception as error:  # torchvision raises RuntimeError, URLError, EOFError, tarfile's errors, ...
        raise DataError(f"the official CIFAR-10 batches cannot be fetched: {error}") from error


def read_cifar10(folder: Path) -> Decoded:
    """CIFAR-10 from a folder in any of its forms. Raises `DataError` where the folder's content is damaged or is
    something else."""
    form = find_form(folder)
    if form is None:
        raise DataError(
            f"{folder}: no CIFAR-10 here (found {first_names(folder)}); expected cifar-10-batches-py/ or "
            "cifar-10-python.tar.gz, *.parquet files as on the Hugging Face hub, or train/ and test/ with a folder for "
            f"each class; {ANOTHER_NAME}"
        )
    match form:
        case "official":
            decoded = _read_official(folder)
        case "folders" if (found := find_classes(form, folder)) != CIFAR10.classes:
            raise DataError(
                f"{folder}/train: class folders are {', '.join(found) or 'none'}; expected "
                f"{', '.join(CIFAR10.classes)}; {ANOTHER_NAME}"
            )
        case "parquet" | "folders":
            decoded = _read_encoded(form, folder, CIFAR10.classes, CIFAR10.size)
        case unknown:
            assert_never(unknown)
    _check_cifar10(folder, decoded)
    return decoded


def read_images(folder: Path) -> Decoded:
    """A data set of the user's own: image files in a folder for each class, in `train` and in `test`, or Parquet files
    as on the Hugging Face hub.

    Raises `DataError` where the folder holds neither, and where an image is damaged, has not 8 bits a channel, or is
    not square and as large as the others.
    """
    match find_form(folder):
        case "official":
            raise DataError(f"{folder}: this is CIFAR-10; name it with --data {CIFAR10}")
        case None:
            raise DataError(
                f"{folder}: no images here (found {first_names(folder)}); expected train/ and test/ with a folder for "
                "each class, or train*.parquet and test*.parquet as on the Hugging Face hub"
            )
        case layout:
            classes = find_classes(layout, folder)
            if not 2 <= len(classes) <= MOST_CLASSES:
                folders = " (each a folder in train/)" * (layout == "folders")
                raise DataError(f"{folder}: {len(classes)} classes{folders}; allowed: 2 to {MOST_CLASSES}")
            return _read_encoded(layout, folder, classes, size=None)


def read_digits() -> Decoded:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, enlarged to 32x32 and repeated in three channels.

    A fixed stratified fifth of them is the test split.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey.repeat(4, axis=1).repeat(4, axis=2)[..., None], 3, axis=3)
    labels = digits.target.astype(np.uint8)
    train, test = stratified_split(labels, fraction=0.2)
    return Decoded("embedded", DIGITS.classes, images[train], labels[train], images[test], labels[test])


def stratified_split(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices of the kept and of the held-out labels. A random `fraction` of every class is held out, the same
    on every call."""
    generator = np.random.Generator(np.random.PCG64(0))
    held_out = np.concatenate(
        [
            generator.permutation(members)[: round(len(members) * fraction)]
            for members in (np.flatnonzero(labels == label) for label in np.unique(labels))
        ]
    )
    return np.setdiff1d(np.arange(len(labels)), held_out), np.sort(held_out)


def _read_encoded(layout: Layout, folder: Path, classes: tuple[str, ...], size: int | None) -> Decoded:
    """A data set of encoded images of these classes, all of that height and width; of that of the first with None."""
    train, test = (list_images(layout, folder, split, classes) for split in SPLITS)
    images, encodings = decode([*train.files, *test.files], size or _own_size(train.files[0]))
    form = f"{layout} of {' and '.join(sorted(encodings))}"
    count = len(train.files)
    return Decoded(form, classes, images[:count], train.labels, images[count:], test.labels)


def _read_official(folder: Path) -> Decoded:
    """CIFAR-10 in its official form, read by torchvision.

    torchvision checks the MD5 of every file but does not say which one is wrong, so they are checked here first.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity, extract_archive

    if not (folder / CIFAR10.base_folder).is_dir():
        archive = folder / CIFAR10.filename
        if not check_integrity(str(archive), CIFAR10.tgz_md5):
            raise DataError(f"{archive}: the checksum is not that of the official CIFAR-10 archive")
        with tempfile.TemporaryDirectory() as extracted:
            extract_archive(str(archive), extracted)
            return _read_official(Path(extracted))
    for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list):
        file = folder / CIFAR10.base_folder / name
        if not check_integrity(str(file), md5):
            problem = "the checksum is not that of the official CIFAR-10 batch" if file.exists() else "no such file"
            raise DataError(f"{file}: {problem}")
    splits: list[np.ndarray] = []
    for train in (True, False):
        try:
            split = CIFAR10(str(folder), train=train)
        except Exception as error:  # torchvision raises RuntimeError, EOFError, pickle's errors, ...
            raise DataError(f"{folder}: the official CIFAR-10 batches cannot be read: {error}") from error
        splits += [split.data, np.asarray(split.targets, dtype=np.uint8)]
    return Decoded("official", CIFAR10.classes, *splits)


def _check_cifar10(folder: Path, decoded: Decoded) -> None:
    """Raise `DataError` unless class counts and pixel statistics are those of CIFAR-10."""
    for split, images, labels, expected in (
        ("train", decoded.train_images[::10], decoded.train_labels, CIFAR10.train),
        ("test", decoded.test_images[::2], decoded.test_labels, CIFAR10.test),
    ):
        counts = tuple(np.bincount(labels, minlength=len(expected)).tolist())
        if counts != expected:
            raise DataError(
                f"{folder}: the {split} split has {sum(counts):,} images, by class {list(counts)}; CIFAR-10 has "
                f"{expected[0]:,} of each class; {ANOTHER_NAME}"
            )
        mean, std = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))
        if np.abs(mean - CHANNEL_MEAN).max() > TOLERANCE[split] or np.abs(std - CHANNEL_STD).max() > TOLERANCE[split]:
            raise DataError(
                f"{folder}: the {split} split does not have CIFAR-10's pixels: channel means {mean.round(1).tolist()} "
                f"and deviations {std.round(1).tolist()}, CIFAR-10 has {list(CHANNEL_MEAN)} and {list(CHANNEL_STD)}"
            )


def _own_size(first: NamedFile) -> int:
    """The height and width of the images of a data set of the user's own. Raises `DataError` for one not allowed."""
    size = len(read_image(*first, size=None)[0])
    if not SMALLEST <= size <= LARGEST:
        raise DataError(f"{first[0]}: the image is {size}x{size} pixels; allowed: {SMALLEST} to {LARGEST}")
    return size
