"""Readers that decode a data set from each form that it is distributed in, and check it. Nothing is cached here."""

import io
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import numpy as np
from PIL import Image

from trainable.errors import UsageError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_CLASS = {"train": 5000, "test": 1000}
"""CIFAR-10's images of each class, by split."""
CHANNEL_MEAN, CHANNEL_STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
"""Statistics of CIFAR-10's train split, in grey levels from 0 to 255."""
TOLERANCE = {"train": 2, "test": 4}
"""How far those of a copy, re-encoded or not, lie from them at most. Those of the test split differ by up to 1."""

CifarForm = Literal["official", "parquet", "folders"]
"""`official`: the Python batches or their archive. `parquet`: Parquet files named by split. `folders`: image files in a
folder for each class, in one for each split."""

ENCODINGS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""Pillow's names of the encodings that are read. It does not tell the depth of some others (PPM), and starts another
program for some (EPS)."""
MODES = ("RGB", "RGBA", "L", "LA", "P")
"""Pillow's modes of 8 bits a channel that become RGB without a loss of colour."""

NamedFile = tuple[str, io.BytesIO | Path]
"""The name of an encoded image for error messages, and its content."""


@dataclass(frozen=True)
class Decoded:
    """A data set decoded to arrays: images uint8 (N, 32, 32, 3) and labels uint8 (N,) of both splits."""

    form: str
    """Where it was read from: `official`, `embedded`, or layout and image encoding, such as `parquet of JPEG`."""
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


class DataError(UsageError):
    """The data is missing or is not what it should be. The message names the file and the problem."""


def find_form(folder: Path) -> CifarForm | None:
    """The form in which a folder holds CIFAR-10, or None where it holds none. The content is not checked."""
    if any((folder / name).exists() for name in ("cifar-10-batches-py", "cifar-10-python.tar.gz")):
        return "official"
    if list_visible(folder, "**/*.parquet"):
        return "parquet"
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return "folders"
    return None


def list_visible(folder: Path, pattern: str = "*") -> list[Path]:
    """The sorted paths in a folder that match a pattern, without those that systems and tools leave there: hidden ones
    (`.DS_Store`, `._cat.png`, `.ipynb_checkpoints/`), `Thumbs.db`, `desktop.ini` and `__MACOSX/`."""
    left_behind = {"thumbs.db", "desktop.ini", "__macosx"}
    return [
        path
        for path in sorted(folder.glob(pattern))
        if not any(part.startswith(".") or part.lower() in left_behind for part in path.relative_to(folder).parts)
    ]


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
            f"{folder}: no CIFAR-10 here (found {_first_names(folder)}); expected cifar-10-batches-py/ or "
            "cifar-10-python.tar.gz, *.parquet files as on the Hugging Face hub, or train/ and test/ with a folder for "
            "each class"
        )
    match form:
        case "official":
            decoded = _read_official(folder)
        case "parquet":
            decoded = _read_encoded(form, folder, _list_parquet)
        case "folders":
            decoded = _read_encoded(form, folder, _list_class_folders)
        case unknown:
            assert_never(unknown)
    _check_cifar10(folder, decoded)
    return decoded


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
    return Decoded("embedded", images[train], labels[train], images[test], labels[test])


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


def _read_encoded(
    layout: str, folder: Path, list_images: Callable[[Path, str], tuple[list[NamedFile], np.ndarray]]
) -> Decoded:
    """CIFAR-10 from encoded images: `list_images` gives the images and labels of a split."""
    (train, train_labels), (test, test_labels) = (list_images(folder, split) for split in PER_CLASS)
    images, encodings = _decode([*train, *test])
    form = f"{layout} of {' and '.join(sorted(encodings))}"
    return Decoded(form, images[: len(train)], train_labels, images[len(train) :], test_labels)


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
    return Decoded("official", *splits)


def _list_parquet(folder: Path, split: str) -> tuple[list[NamedFile], np.ndarray]:
    """A split's images and labels from all Parquet files that are named by the split, or lie in a folder that is."""
    from pyarrow import ArrowException, parquet

    files = [file for file in list_visible(folder, "**/*.parquet") if _split_of(file.relative_to(folder)) == split]
    if not files:
        raise DataError(
            f"{folder}: no Parquet file of the {split} split: looked for {split}*.parquet and {split}/*.parquet here "
            f"and in all folders within, found {_first_names(folder, '**/*.parquet')}"
        )
    images: list[NamedFile] = []
    labels: list[int] = []
    for file in files:
        try:
            table = parquet.read_table(file, page_checksum_verification=True).combine_chunks()
        except (ArrowException, OSError) as error:
            raise DataError(f"{file}: not a readable Parquet file: {_one_line(error)}") from error
        column = next((name for name in ("img", "image") if name in table.column_names), None)
        if column is None or "label" not in table.column_names:
            raise DataError(f"{file}: columns are {table.column_names}; expected img (or image) and label")
        try:
            blobs = table.flatten()[f"{column}.bytes"].to_pylist()
            images += [(f"{file} row {row}", io.BytesIO(blob or b"")) for row, blob in enumerate(blobs)]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: {column} must be struct<bytes: binary, path>: {_one_line(error)}") from error
        for label in table["label"].to_pylist():
            if type(label) is not int or not 0 <= label < len(CLASSES):
                raise DataError(f"{file}: label {label!r} is not one of 0 to {len(CLASSES) - 1}")
            labels.append(label)
    if not images:
        raise DataError(f"{folder}: the Parquet files of the {split} split have no rows")
    return images, np.asarray(labels, dtype=np.uint8)


def _split_of(file: Path) -> str | None:
    """The split that a path within the data set names: the file's own name or, if that names none, its folder's."""
    return next((split for part in reversed(file.parts) for split in PER_CLASS if part.startswith(split)), None)


def _first_names(folder: Path, pattern: str = "*") -> str:
    """Some names of what a folder holds, for a message."""
    names = [str(path.relative_to(folder)) for path in list_visible(folder, pattern)]
    return ", ".join(names[:4] + ["..."] * (len(names) > 4)) or "nothing"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _list_class_folders(folder: Path, split: str) -> tuple[list[NamedFile], np.ndarray]:
    """A split's images and labels from a folder for each class."""
    class_names = [path.name for path in list_visible(folder / split) if path.is_dir()]
    if class_names != sorted(CLASSES):
        raise DataError(
            f"{folder / split}: class folders are {', '.join(class_names) or 'none'}; expected {', '.join(CLASSES)}"
        )
    files = [(path, label) for label, name in enumerate(CLASSES) for path in list_visible(folder / split / name)]
    if not files:
        raise DataError(f"{folder / split}: the class folders are empty")
    return [(str(path), path) for path, _ in files], np.asarray([label for _, label in files], dtype=np.uint8)


def read_image(name: str, file: io.BytesIO | Path) -> tuple[np.ndarray, str]:
    """An image as RGB, uint8 (32, 32, 3), and Pillow's name of its encoding.

    Raises `DataError` with the image's name where it cannot be read, has another size, or has not 8 bits a channel:
    Pillow would cut off what is above 255, or drop the lower bits, without a word.
    """
    try:
        with Image.open(file, formats=ENCODINGS) as image:
            if image.size != (32, 32):
                raise DataError(f"{name}: the image is {image.width}x{image.height} pixels; expected 32x32")
            raw = _raw_mode(image)
            if image.mode not in MODES or ";" in raw:  # as in RGB;16B
                raise DataError(f"{name}: pixels of mode {raw}; expected RGB, grey or a palette of 8 bits a channel")
            return np.asarray(image.convert("RGB")), image.format or "unknown"
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        raise DataError(f"{name}: not a readable image: {_one_line(error)}") from error


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel. Pillow's mode alone does not tell: an image of 16 bits a channel may be `RGB`."""
    for _, _, _, arguments in getattr(image, "tile", ()):
        raw = arguments[0] if isinstance(arguments, tuple) else arguments
        if isinstance(raw, str):
            return raw
    return image.mode


def _decode(files: Iterable[NamedFile]) -> tuple[np.ndarray, set[str]]:
    """The images as uint8 (N, 32, 32, 3), and Pillow's names of their encodings."""
    images, encodings = zip(*(read_image(name, file) for name, file in files), strict=True)
    return np.stack(images), set(encodings)


def _check_cifar10(folder: Path, decoded: Decoded) -> None:
    """Raise `DataError` unless class counts and pixel statistics are those of CIFAR-10."""
    for split, images, labels in (
        ("train", decoded.train_images[::10], decoded.train_labels),
        ("test", decoded.test_images[::2], decoded.test_labels),
    ):
        counts = np.bincount(labels, minlength=len(CLASSES)).tolist()
        if counts != [PER_CLASS[split]] * len(CLASSES):
            raise DataError(
                f"{folder}: the {split} split has {sum(counts):,} images, by class {counts}; "
                f"CIFAR-10 has {PER_CLASS[split]:,} of each class"
            )
        mean, std = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))
        if np.abs(mean - CHANNEL_MEAN).max() > TOLERANCE[split] or np.abs(std - CHANNEL_STD).max() > TOLERANCE[split]:
            raise DataError(
                f"{folder}: the {split} split does not have CIFAR-10's pixels: channel means {mean.round(1).tolist()} "
                f"and deviations {std.round(1).tolist()}, CIFAR-10 has {list(CHANNEL_MEAN)} and {list(CHANNEL_STD)}"
            )
