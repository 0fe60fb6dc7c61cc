"""Encoded images in folders or in Parquet files: which classes they have, where each image is, and its pixels."""

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainable.errors import DataError
from trainable.image_set import MOST_CLASSES

if TYPE_CHECKING:
    from pyarrow import Table

Layout = Literal["parquet", "folders"]
"""`parquet`: Parquet files named by split. `folders`: image files in a folder for each class, in one for each split."""
SPLITS = ("train", "test")
ENCODINGS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""Pillow's names of the encodings that are read. It does not tell the depth of some others (PPM), and starts another
program for some (EPS)."""
MODES = ("RGB", "RGBA", "L", "LA", "P")
"""Pillow's modes of 8 bits a channel that become RGB without a loss of colour."""

IMAGE_COLUMNS, LABEL_COLUMNS = ("img", "image"), ("label", "labels", "fine_label")
"""Names that the columns of a Parquet file may have; the last is CIFAR-100's."""

NamedFile = tuple[str, io.BytesIO | Path]
"""The name of an encoded image for error messages, and its content."""


@dataclass(frozen=True)
class Listed:
    """The encoded images of a split."""

    files: list[NamedFile]
    labels: np.ndarray
    """uint8 (N,)."""


def list_visible(folder: Path, pattern: str = "*") -> list[Path]:
    """The sorted paths in a folder that match a pattern, without those that systems and tools leave there: hidden ones
    (`.DS_Store`, `._cat.png`, `.ipynb_checkpoints/`), `Thumbs.db`, `desktop.ini` and `__MACOSX/`."""
    left_behind = {"thumbs.db", "desktop.ini", "__macosx"}
    return [
        path
        for path in sorted(folder.glob(pattern))
        if not any(part.startswith(".") or part.lower() in left_behind for part in path.relative_to(folder).parts)
    ]


def first_names(folder: Path, pattern: str = "*") -> str:
    """Some names of what a folder holds, for a message."""
    names = [str(path.relative_to(folder)) for path in list_visible(folder, pattern)]
    return ", ".join(names[:4] + ["..."] * (len(names) > 4)) or "nothing"


def find_classes(layout: Layout, folder: Path) -> tuple[str, ...]:
    """The names of the classes that the train split has, by label: those of its folders in alphabetical order; of
    Parquet files those in the schema, where the Hugging Face hub has them, else the labels as numbers. Raises
    `DataError` for a file that cannot be read."""
    match layout:
        case "folders":
            return tuple(_class_folders(folder, "train"))
        case "parquet":
            files = _parquet_files(folder, "train")
            if names := files[0].class_names:
                return names
            labels = [label for each in files for label in each.read_labels(MOST_CLASSES)]
            return tuple(map(str, range(max(labels, default=-1) + 1)))
        case unknown:
            assert_never(unknown)


def list_images(layout: Layout, folder: Path, split: str, classes: tuple[str, ...]) -> Listed:
    """A split's images and labels. Raises `DataError` for another class than these, and for a split without images."""
    match layout:
        case "folders":
            return _list_class_folders(folder, split, classes)
        case "parquet":
            return _list_parquet(folder, split, classes)
        case unknown:
            assert_never(unknown)


def _class_folders(folder: Path, split: str) -> list[str]:
    return [path.name for path in list_visible(folder / split) if path.is_dir()]


def _list_class_folders(folder: Path, split: str, classes: tuple[str, ...]) -> Listed:
    found = _class_folders(folder, split)
    if different := sorted({*found} ^ {*classes}):
        what = "a folder of no class" if different[0] in found else "missing"
        raise DataError(f"{folder / split / different[0]}: {what}; the classes are {', '.join(classes)}")
    files = [(path, label) for label, name in enumerate(classes) for path in list_visible(folder / split / name)]
    if not files:
        raise DataError(f"{folder / split}: the class folders are empty")
    return Listed([(str(path), path) for path, _ in files], np.asarray([label for _, label in files], dtype=np.uint8))


def _list_parquet(folder: Path, split: str, classes: tuple[str, ...]) -> Listed:
    images: list[NamedFile] = []
    labels: list[int] = []
    for each in _parquet_files(folder, split):
        images += each.read_images()
        labels += each.read_labels(len(classes))
    if not images:
        raise DataError(f"{folder}: the Parquet files of the {split} split have no rows")
    return Listed(images, np.asarray(labels, dtype=np.uint8))


@dataclass(frozen=True)
class _ParquetFile:
    """A Parquet file with a column of images and one of labels. Its methods raise `DataError` for a damaged file."""

    file: Path
    images: str
    labels: str
    """The names of the two columns."""
    class_names: tuple[str, ...]
    """What the Hugging Face hub writes into a schema; empty where it has none."""

    @classmethod
    def open(cls, file: Path) -> "_ParquetFile":
        from pyarrow import parquet

        with _readable(file):
            schema = parquet.read_schema(file)
        images, labels = (
            next((name for name in names if name in schema.names), None) for names in (IMAGE_COLUMNS, LABEL_COLUMNS)
        )
        if images is None or labels is None:
            raise DataError(
                f"{file}: columns are {schema.names}; expected img (or image) and label (or labels, fine_label)"
            )
        try:
            about = json.loads((schema.metadata or {})[b"huggingface"])
            names = tuple(map(str, about["info"]["features"][labels]["names"]))
        except (KeyError, TypeError, ValueError):
            names = ()
        return cls(file, images, labels, names)

    def read_images(self) -> list[NamedFile]:
        """The encoded image of each row."""
        table = self._read(self.images)
        try:
            blobs = table.flatten()[f"{self.images}.bytes"].to_pylist()
            return [(f"{self.file} row {row}", io.BytesIO(blob or b"")) for row, blob in enumerate(blobs)]
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{self.images} must be struct<bytes: binary, path>: {_one_line(error)}"
            raise DataError(f"{self.file}: {problem}") from error

    def read_labels(self, classes: int) -> list[int]:
        """The label of each row. Raises `DataError` for one that so many classes do not have."""
        labels = self._read(self.labels)[self.labels].to_pylist()
        for label in labels:
            if type(label) is not int or not 0 <= label < classes:
                raise DataError(f"{self.file}: label {label!r} is not one of 0 to {classes - 1}")
        return labels

    def _read(self, column: str) -> "Table":
        from pyarrow import parquet

        with _readable(self.file):
            return parquet.read_table(self.file, columns=[column], page_checksum_verification=True).combine_chunks()


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        raise DataError(f"{file}: not a readable Parquet file: {_one_line(error)}") from error


def _parquet_files(folder: Path, split: str) -> list[_ParquetFile]:
    """All Parquet files that are named by the split, or lie in a folder that is."""
    files = [file for file in list_visible(folder, "**/*.parquet") if _split_of(file.relative_to(folder)) == split]
    if not files:
        raise DataError(
            f"{folder}: no Parquet file of the {split} split: looked for {split}*.parquet and {split}/*.parquet here "
            f"and in all folders within, found {first_names(folder, '**/*.parquet')}"
        )
    return [_ParquetFile.open(file) for file in files]


def _split_of(file: Path) -> str | None:
    """The split that a path within the data set names: the file's own name or, if that names none, its folder's."""
    return next((split for part in reversed(file.parts) for split in SPLITS if part.startswith(split)), None)


def read_image(name: str, file: io.BytesIO | Path, size: int | None) -> tuple[np.ndarray, str]:
    """An image as RGB, uint8 (P, P, 3), and Pillow's name of its encoding. `size` is its height and width in pixels;
    with None it may be any square.

    Raises `DataError` with the image's name where it cannot be read, has another size, or has not 8 bits a channel:
    Pillow would cut off what is above 255, or drop the lower bits, without a word.
    """
    try:
        with Image.open(file, formats=ENCODINGS) as image:
            if image.size != (size or image.width,) * 2:
                expected = f"{size}x{size}" if size else "a square"
                raise DataError(f"{name}: the image is {image.width}x{image.height} pixels; expected {expected}")
            raw = _raw_mode(image)
            if image.mode not in MODES or ";" in raw:  # as in RGB;16B
                raise DataError(f"{name}: pixels of mode {raw}; expected RGB, grey or a palette of 8 bits a channel")
            return np.asarray(image.convert("RGB")), image.format or "unknown"
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not a readable image: no {', '.join(ENCODINGS)}") from error
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        raise DataError(f"{name}: not a readable image: {_one_line(error)}") from error


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel. Pillow's mode alone does not tell: an image of 16 bits a channel may be `RGB`."""
    for _, _, _, arguments in getattr(image, "tile", ()):
        raw = arguments[0] if isinstance(arguments, tuple) else arguments
        if isinstance(raw, str):
            return raw
    return image.mode


def decode(files: Sequence[NamedFile], size: int) -> tuple[np.ndarray, set[str]]:
    """The images as uint8 (N, P, P, 3), all of that height and width, and Pillow's names of their encodings. Raises
    `DataError` as `read_image` does."""
    images, encodings = np.empty((len(files), size, size, 3), np.uint8), set()
    for index, (name, file) in enumerate(files):
        images[index], encoding = read_image(name, file, size)
        encodings.add(encoding)
    return images, encodings


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
