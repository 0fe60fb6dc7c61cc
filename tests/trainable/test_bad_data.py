"""What is not CIFAR-10, or is damaged, is refused by the file's name."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.images import deep_png, encoded, png, write_parquet
from trainable import sources
from trainable.encoded import ENCODINGS, read_image
from trainable.errors import DataError
from trainable.image_set import CIFAR10
from trainable.sources import read_cifar10


@pytest.mark.parametrize(
    ("images", "labels", "problem"),
    [
        ([png(16)], [3], "test-0.parquet row 0: the image is 16x16 pixels; expected 32x32"),
        ([png()[:200]], [3], "test-0.parquet row 0: not a readable image"),
        ([b""], [3], "test-0.parquet row 0: not a readable image"),
        ([png()], [10], "test-0.parquet: label 10 is not one of 0 to 9"),
        ([png()], [-1], "test-0.parquet: label -1 is not one of 0 to 9"),
        ([png()], [6.4], "test-0.parquet: label 6.4 is not one of 0 to 9"),
        ([png()], [6.0], "test-0.parquet: label 6.0 is not one of 0 to 9"),
        ([png(), png()], [6, None], "test-0.parquet: label None is not one of 0 to 9"),
        ([png()], [True], "test-0.parquet: label True is not one of 0 to 9"),
        ([deep_png()], [3], "test-0.parquet row 0: pixels of mode RGB;16B; expected RGB, grey or a palette of 8 bits"),
        ([deep_png(30_000)], [3], "test-0.parquet row 0: not a readable image: Image size .* decompression bomb"),
        ([encoded(np.full((32, 32), 60_000, np.uint16))], [3], "row 0: pixels of mode I;16B; expected"),
        ([encoded(np.full((32, 32), 0.5, np.float32), "TIFF")], [3], "row 0: pixels of mode F;32F; expected"),
        ([encoded(np.zeros((32, 32, 4), np.uint8), "JPEG", "CMYK")], [3], "row 0: pixels of mode CMYK;I; expected"),
        ([encoded(np.zeros((32, 32), bool))], [3], "row 0: pixels of mode 1; expected"),
        ([png()], [3], r"the train split has 1 images.*CIFAR-10 has 5,000 of each class"),
    ],
)
def test_wrong_parquet_content_is_named(tmp_path: Path, images: list, labels: list, problem: str) -> None:
    write_parquet(tmp_path / "train-0.parquet", [png()], [0])
    write_parquet(tmp_path / "test-0.parquet", images, labels)
    with pytest.raises(DataError, match=problem):
        read_cifar10(tmp_path)


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", [png()], [0])
    whole = (tmp_path / "train-0.parquet").read_bytes()
    (tmp_path / "train-0.parquet").write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"train-0\.parquet: not a readable Parquet file"):
        read_cifar10(tmp_path)


def test_a_flipped_bit_in_a_page_with_a_checksum_is_found(tmp_path: Path) -> None:
    """In a form of image that has no checksum of its own."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    table = pa.table({"img": [{"bytes": encoded(pixels, "BMP"), "path": None}], "label": [3]})
    file = tmp_path / "train-0.parquet"
    parquet.write_table(table, file, write_page_checksum=True, compression="none")
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"train-0\.parquet: not a readable Parquet file: .*checksum"):
        read_cifar10(tmp_path)


def test_an_image_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file's name is."""
    ghostscript, mark = tmp_path / "gs", tmp_path / "was here"
    ghostscript.write_text(f"#!/bin/sh\n/usr/bin/touch '{mark}'\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # it is looked for once in a process
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(DataError, match=r"cat\.png: not a readable image"):
        read_image("cat.png", io.BytesIO(script), size=32)
    assert not mark.exists()


def test_other_columns_are_named(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": ["no image"]}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match=r"columns are \['text'\]; expected img \(or image\) and label"):
        read_cifar10(tmp_path)


@pytest.mark.parametrize("cell", ["text", {"bytes": "text", "path": None}])
def test_images_that_are_no_bytes_are_named(tmp_path: Path, cell: object) -> None:
    parquet.write_table(pa.table({"img": [cell], "label": [0]}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match=r"train-0\.parquet: img must be struct<bytes: binary, path>"):
        read_cifar10(tmp_path)


def test_class_folders_must_be_the_ten_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in [*CIFAR10.classes[:-1], "lorry"]:
            (tmp_path / split / name).mkdir(parents=True)
    with pytest.raises(DataError, match=r"train: class folders are .*lorry.*; expected airplane"):
        read_cifar10(tmp_path)


def test_damaged_official_batches_are_named(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not the batch")
    with pytest.raises(DataError, match="data_batch_1: the checksum is not that of the official CIFAR-10 batch"):
        read_cifar10(tmp_path)


def like_cifar10(scale: float = 1.0, shift: float = 0.0) -> bytes:
    """An image with the channel means and deviations of CIFAR-10, but for the changes."""
    half = np.arange(32 * 32).reshape(32, 32, 1) % 2 * 2 - 1
    pixels = np.array(sources.CHANNEL_MEAN) + shift + half * scale * np.array(sources.CHANNEL_STD)
    return encoded(pixels.round().astype(np.uint8))


SMALL = CIFAR10.model_copy(update={"train": (50,) * 10, "test": (10,) * 10})
NO_PIXELS = "split does not have CIFAR-10's pixels"


def refusal(folder: Path, train: bytes, test: bytes, labels: dict[str, list[int]] | None = None) -> str:
    """What is said of a folder in which each split has one image many times; empty where it is taken for CIFAR-10."""
    for split, image in (("train", train), ("test", test)):
        of_split = (labels or {}).get(split, list(range(10)) * getattr(SMALL, split)[0])
        write_parquet(folder / f"{split}-0.parquet", [image] * len(of_split), of_split)
    try:
        read_cifar10(folder)
    except DataError as error:
        return str(error)
    return ""


def test_what_has_the_counts_and_the_statistics_of_cifar10_is_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CIFAR10", SMALL)
    assert refusal(tmp_path, like_cifar10(), like_cifar10()) == ""


@pytest.mark.parametrize("other", [png(), like_cifar10(shift=20), like_cifar10(scale=0.5)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_of_another_data_set_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, other: bytes
) -> None:
    """The right files, counts and sizes are not enough."""
    monkeypatch.setattr(sources, "CIFAR10", SMALL)
    images = {"train": like_cifar10(), "test": like_cifar10()} | {split: other}
    assert f"the {split} {NO_PIXELS}" in refusal(tmp_path, images["train"], images["test"])


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("wrong", [{0: 9}, {}])
def test_other_counts_of_the_classes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, wrong: dict[int, int]
) -> None:
    """As many images as there should be, of which one is of another class; and one image too few."""
    monkeypatch.setattr(sources, "CIFAR10", SMALL)
    labels = list(range(10)) * getattr(SMALL, split)[0]
    labels = [wrong[0], *labels[1:]] if wrong else labels[1:]
    said = refusal(tmp_path, like_cifar10(), like_cifar10(), {split: labels})
    assert f"the {split} split has {len(labels):,} images, by class" in said


@settings(derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_broken_image_is_refused_or_read_as_eight_bits(drawn: st.DataObject) -> None:
    """Whatever the bytes are: an image of the right form, or one line that names it."""
    colours = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    whole = drawn.draw(st.sampled_from([encoded(colours, name) for name in ENCODINGS] + [deep_png()]))
    broken = drawn.draw(damaged(whole) | st.binary())
    try:
        pixels, _ = read_image("cat.png", io.BytesIO(broken), size=32)
    except DataError as error:
        assert str(error).startswith("cat.png: ") and "\n" not in str(error)
    else:
        assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)


@settings(derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_broken_parquet_file_is_one_line(drawn: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for split in ("train", "test"):
            write_parquet(Path(folder) / f"{split}.parquet", [png()], [3])
        file = Path(folder) / "train.parquet"
        file.write_bytes(drawn.draw(damaged(file.read_bytes()) | st.binary()))
        with pytest.raises(DataError) as error:
            read_cifar10(Path(folder))
        assert "\n" not in str(error.value) and str(error.value).startswith(folder)


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """The bytes, cut off somewhere or with some of them replaced."""
    place = st.integers(0, len(whole) - 1)

    def replace(bytes_at: dict[int, int]) -> bytes:
        changed = bytearray(whole)
        for at, byte in bytes_at.items():
            changed[at] = byte
        return bytes(changed)

    return place.map(lambda size: whole[:size]) | st.dictionaries(place, st.integers(0, 255), max_size=4).map(replace)
