"""Images of one's own that cannot be used, and options that name none: one line, before anything starts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Command
from tests.own_data import write_shapes


def resize(folder: Path, name: str, size: tuple[int, int]) -> None:
    file = min((folder / "train" / name).iterdir())
    Image.open(file).resize(size).save(file)


def resize_all(folder: Path, size: int) -> None:
    for file in folder.rglob("*.png"):
        Image.open(file).resize((size, size)).save(file)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (
            lambda own: shutil.rmtree(own / "train"),
            "no images here (found test); expected train/ and test/ with a folder",
        ),
        (
            lambda own: shutil.rmtree(own / "test" / "ring"),
            "test/ring: missing; the classes are hook, line, ring",
        ),
        (lambda own: [shutil.rmtree(own / each / "line") for each in ("train", "test")], ""),
        (
            lambda own: [shutil.rmtree(own / "train" / each) for each in ("line", "ring")],
            "1 classes (each a folder in train/); allowed: 2 to 256",
        ),
        (lambda own: resize(own, "ring", (30, 31)), "png: the image is 30x31 pixels; expected 30x30"),
        (lambda own: resize(own, "hook", (40, 30)), "png: the image is 40x30 pixels; expected a square"),
        (lambda own: resize_all(own, 16), "png: the image is 16x16 pixels; allowed: 17 to 512"),
        (
            lambda own: [file.unlink() for file in sorted((own / "train" / "line").iterdir())[9:]],
            "class line has 9 images in train; allowed: 10 to",
        ),
        (
            lambda own: [file.unlink() for file in (own / "test" / "line").iterdir()],
            "class line has 0 images in test; allowed: 1 to",
        ),
        (lambda own: (own / "cifar-10-batches-py").mkdir(), "this is CIFAR-10; name it with --data cifar10"),
        (lambda own: [(own / each / "line").rename(own / each / "a$b") for each in ("train", "test")], "without $"),
    ],
)
def test_images_that_cannot_be_used_are_one_line(
    spoil: Callable[[Path], object], problem: str, here: Command, tmp_path: Path
) -> None:
    spoil(write_shapes(tmp_path / "own", train=12, test=2))
    refused = here("--data", "shapes", "--data-dir", "own", "--only", "7", "--dry-run")
    if not problem:
        assert refused.returncode == 0, "two classes are enough"
        return
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
    assert problem in refused.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ("--data", "shapes"),
            "--data 'shapes' is unknown; allowed: cifar10, digits; images of your own need --data-dir",
        ),
        (
            ("--data", "Shapes!", "--data-dir", "own"),
            "--data 'Shapes!': must be cifar10 or digits, or for images of your",
        ),
        (("--data", "shapes", "--data-dir", "none"), "none: no such folder"),
        (("--data", "digits", "--data-dir", "own"), "--data-dir own: the digits are not read from a folder"),
    ],
)
def test_an_option_that_names_no_data_is_one_line(options: tuple[str, ...], problem: str, here: Command) -> None:
    refused = here(*options, "--dry-run")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert problem in refused.stderr
