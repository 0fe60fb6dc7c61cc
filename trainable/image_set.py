"""What a config says of its data: the classes, the size and the number of the images. Imports no torch.

`trainable.data` loads the images themselves.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    WrapSerializer,
    model_validator,
)

from trainable.frozen import Frozen, Label
from trainable.problem import first_problem

SetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""A name of a data set: it is part of an experiment's name."""
SMALLEST, LARGEST = 17, 512
"""Allowed heights and widths of images in pixels. A shift of 16 pixels with reflected edges needs 17."""
MOST_CLASSES = 256
"""Labels are kept in a byte."""
FEWEST_OF_A_CLASS = 10
"""Train images of a class: protocol B holds a tenth of them out."""
MOST_OF_A_CLASS = 100_000_000
MOST_CHARACTERS = 7_000
"""Of an image set as JSON: it is a part of configs, whose length is limited."""


class ImageSet(Frozen):
    """A data set as a config names it. The images are square, and all have one size."""

    name: SetName
    classes: Annotated[tuple[Label, ...], Field(min_length=2, max_length=MOST_CLASSES)]
    """The names of the classes, by label."""
    size: Annotated[int, Field(ge=SMALLEST, le=LARGEST)]
    """Height and width of an image in pixels."""
    train: tuple[int, ...]
    """Images of each class in the train split, by label."""
    test: tuple[int, ...]
    """The same in the test split."""

    @model_validator(mode="after")
    def _each_class_has_images(self) -> "ImageSet":
        if not len(set(self.classes)) == len(self.classes) == len(self.train) == len(self.test):
            raise ValueError("classes must be distinct, with a number in train and in test for each")
        for split, counts, fewest in (("train", self.train, FEWEST_OF_A_CLASS), ("test", self.test, 1)):
            for name, count in zip(self.classes, counts, strict=True):
                if not fewest <= count <= MOST_OF_A_CLASS:
                    allowed = f"{fewest} to {MOST_OF_A_CLASS:,}"
                    raise ValueError(f"class {name} has {count} images in {split}; allowed: {allowed}")
        return self

    @model_validator(mode="after")
    def _fits_into_a_config(self) -> "ImageSet":
        if (size := len(json.dumps(self.model_dump(mode="json")))) > MOST_CHARACTERS:
            raise ValueError(
                f"the names of the classes and their numbers of images have {size:,} characters as JSON; allowed: "
                f"{MOST_CHARACTERS:,}"
            )
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """The size of an image and the number of classes, which decide the shape of a network."""
        return self.size, len(self.classes)

    def __str__(self) -> str:
        """The name."""
        return self.name


CIFAR10 = ImageSet(
    name="cifar10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    size=32,
    train=(5000,) * 10,
    test=(1000,) * 10,
)
DIGITS = ImageSet(
    name="digits",
    classes=tuple(map(str, range(10))),
    size=32,
    train=(142, 146, 142, 146, 145, 146, 145, 143, 139, 144),
    test=(36, 36, 35, 37, 36, 36, 36, 36, 35, 36),
)
BUILT_IN = {each.name: each for each in (CIFAR10, DIGITS)}
NAMES = tuple(BUILT_IN)
"""The data sets that need no folder of the user's."""


def image_set(value: Any) -> ImageSet:
    """The data set that a value means: itself, the name of a built-in one, or a mapping with the fields of another.

    Raises `ValueError` for any other value.
    """
    if isinstance(value, Mapping):
        try:
            value = ImageSet(**value)
        except (ValidationError, TypeError) as error:
            problem = first_problem(error) if isinstance(error, ValidationError) else error
            raise ValueError(f"of one's own: {problem}") from error
    if isinstance(value, ImageSet):
        if BUILT_IN.get(value.name, value) != value:
            raise ValueError(f"of one's own: name {value.name!r} is that of other images")
        return value
    if isinstance(value, str) and value in BUILT_IN:
        return BUILT_IN[value]
    raise ValueError(
        f"{value!r} should be {' or '.join(NAMES)}, or a data set of one's own, which --data and --data-dir name"
    )


def _as_written(value: ImageSet, write: SerializerFunctionWrapHandler) -> Any:
    return value.name if value.name in BUILT_IN else write(value)


Data = Annotated[ImageSet, BeforeValidator(image_set), WrapSerializer(_as_written)]
"""A data set in a config. A built-in one is written as its name."""
