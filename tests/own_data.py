"""Data sets of one's own, as folders of images: some of the digits under names of their own."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainable.data import load

SHAPES = {"ring": 0, "line": 1, "hook": 7}
"""The classes of `write_shapes` with the digits that they are, not in alphabetical order."""


def write_shapes(folder: Path, size: int = 30, train: int = 40, test: int = 10) -> Path:
    """Grey images of three classes, that many of each, in a folder for each split and class."""
    digits = load("digits")
    for split, images, labels, count in (
        ("train", digits.train_images, digits.train_labels, train),
        ("test", digits.test_images, digits.test_labels, test),
    ):
        for name, label in SHAPES.items():
            (folder / split / name).mkdir(parents=True)
            for index in np.flatnonzero(labels == label)[:count]:
                image = Image.fromarray(images[index]).convert("L").resize((size, size))
                image.save(folder / split / name / f"{index}.png")
    return folder
