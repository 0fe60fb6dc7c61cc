"""Data is found, checked and fingerprinted; what is not CIFAR-10 is refused by the file's name."""

import io
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from tests.conftest import SHARED_CIFAR10, needs_cifar10
from trainable import data
from trainable.sources import CLASSES, ENCODINGS, DataError, read_cifar10, read_image, stratified_split


def png(size: int = 32, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def encoded(pixels: np.ndarray, encoding: str = "PNG", mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, encoding)
    return buffer.getvalue()


def deep_png(size: int = 32) -> bytes:
    """A PNG of 16 bits a channel, which Pillow opens as `RGB` but does not write. Its header may say another size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    header = struct.pack(">IIBBBBB", size, size, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(32 * 6)) * 32)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def write_parquet(file: Path, images: list[bytes], labels: list) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": image, "path": None} for image in images]
    parquet.write_table(pa.table({"img": cells, "label": labels}), file)


def write_class_folders(folder: Path) -> None:
    """One image of each class in both splits."""
    for split in ("train", "test"):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
            (folder / split / name / "0.png").write_bytes(png())


def test_digits_are_real_and_say_so() -> None:
    digits = data.load("digits")
    assert (digits.name, digits.form) == ("digits", "embedded")
    assert digits.train_images.shape == (1438, 32, 32, 3)
    assert digits.test_images.shape == (359, 32, 32, 3)
    assert digits.train_images.max() == 255
    assert data.load("digits").fingerprint == digits.fingerprint


def test_protocol_b_holds_out_a_fixed_stratified_tenth() -> None:
    digits = data.load("digits")
    splits = digits.splits("B")
    assert set(splits) == {"train", "val"}
    train, val = splits["train"].index, splits["val"].index
    assert sorted([*train, *val]) == list(range(1438))
    of_each_class = np.bincount(digits.train_labels[val]) / np.bincount(digits.train_labels)
    assert np.allclose(of_each_class, 0.1, atol=0.005)
    assert np.array_equal(val, data.load("digits").splits("B")["val"].index)
    assert set(digits.splits("A")) == {"train", "test"}


def test_stratified_split_takes_the_fraction_of_every_class() -> None:
    kept, held_out = stratified_split(np.repeat(np.arange(10), 5000), 0.1)
    assert (len(kept), len(held_out)) == (45_000, 5_000)
    assert np.bincount(held_out // 5000).tolist() == [500] * 10


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
        read_image("cat.png", io.BytesIO(script))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-0.parquet", "test-0.parquet"),
        ("plain_text/train/0000.parquet", "plain_text/test/0000.parquet"),
        ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet"),
        ("training/train.parquet", "training/test.parquet"),
    ],
)
def test_the_splits_are_found_where_the_hugging_face_hub_has_them(tmp_path: Path, train: str, test: str) -> None:
    write_parquet(tmp_path / train, [png(), png()], [0, 1])
    write_parquet(tmp_path / test, [png()], [2])
    with pytest.raises(DataError, match=r"the train split has 2 images, by class \[1, 1, 0"):
        read_cifar10(tmp_path)


def test_what_is_not_found_is_told_with_what_is_there(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", [png()], [0])
    write_parquet(tmp_path / "data" / "validation.parquet", [png()], [0])
    with pytest.raises(DataError) as error:
        read_cifar10(tmp_path)
    for part in ("the test split", "test*.parquet and test/*.parquet", "data/validation.parquet, train-0.parquet"):
        assert part in str(error.value)


def test_what_systems_leave_in_folders_is_not_data(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "folders")
    write_parquet(tmp_path / "parquet" / "train-0.parquet", [png()], [0])
    write_parquet(tmp_path / "parquet" / "test-0.parquet", [png()], [0])
    counts = {"folders": "10 images, by class [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", "parquet": "1 images, by class [1, 0"}
    for form, problem in counts.items():
        for folder in [tmp_path / form, *(path for path in (tmp_path / form).rglob("*") if path.is_dir())]:
            (folder / ".ipynb_checkpoints").mkdir()
            for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", "._train-0.parquet"):
                (folder / name).write_bytes(b"not data")
                (folder / ".ipynb_checkpoints" / name.removeprefix("._")).write_bytes(b"not data")
        with pytest.raises(DataError) as error:
            read_cifar10(tmp_path / form)
        assert f"the train split has {problem}" in str(error.value)


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
        for name in [*CLASSES[:-1], "lorry"]:
            (tmp_path / split / name).mkdir(parents=True)
    with pytest.raises(DataError, match=r"train: class folders are .*lorry.*; expected airplane"):
        read_cifar10(tmp_path)


def test_damaged_official_batches_are_named(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not the batch")
    with pytest.raises(DataError, match="data_batch_1: the checksum is not that of the official CIFAR-10 batch"):
        read_cifar10(tmp_path)


def test_pixels_of_another_data_set_are_refused(tmp_path: Path) -> None:
    """The right files, counts and sizes are not enough."""
    image = png()
    write_parquet(tmp_path / "train-0.parquet", [image] * 50_000, list(range(10)) * 5000)
    write_parquet(tmp_path / "test-0.parquet", [image] * 10_000, list(range(10)) * 1000)
    with pytest.raises(DataError, match="not CIFAR-10's pixels"):
        read_cifar10(tmp_path)


@needs_cifar10
def test_real_cifar10_is_the_same_in_all_its_forms(tmp_path: Path) -> None:
    """Parquet, and class folders made from it (in another order, so compared by content)."""
    loaded = data.load("cifar10", SHARED_CIFAR10)
    assert (len(loaded.train_labels), len(loaded.test_labels)) == (50_000, 10_000)
    again = data.load("cifar10", SHARED_CIFAR10)
    assert again.fingerprint == loaded.fingerprint
    for split, labels in (("train", loaded.train_labels), ("test", loaded.test_labels)):
        images = getattr(loaded, f"{split}_images")
        for label, name in enumerate(CLASSES):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for row in np.flatnonzero(labels == label):
                Image.fromarray(images[row]).save(folder / f"{row:05d}.bmp")
    folders = data.load("cifar10", tmp_path)
    assert (loaded.form, folders.form) == ("parquet of JPEG", "folders of BMP")
    order = np.argsort(loaded.test_labels, kind="stable")
    assert np.array_equal(folders.test_images, loaded.test_images[order])
    assert np.array_equal(folders.test_labels, loaded.test_labels[order])


@needs_cifar10
def test_the_environment_variable_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_DIR", str(SHARED_CIFAR10))
    assert data.fingerprint("cifar10", download=False) == data.fingerprint("cifar10", SHARED_CIFAR10)


def test_data_that_is_nowhere_names_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", _no_network)
    with pytest.raises(DataError) as error:
        data.load("cifar10")
    for place in ("--data-dir", "$CIFAR10_DIR", str(tmp_path), "download", "--data digits"):
        assert place in str(error.value)


def _no_network(*_: object, **__: object) -> None:
    raise OSError("no network")


def test_a_home_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_DIR", "~nobody-here/cifar10")
    with pytest.raises(DataError, match=r"\$CIFAR10_DIR ~nobody-here/cifar10: "):
        data.load("cifar10")


@settings(derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_broken_image_is_refused_or_read_as_eight_bits(drawn: st.DataObject) -> None:
    """Whatever the bytes are: an image of the right form, or one line that names it."""
    colours = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    whole = drawn.draw(st.sampled_from([encoded(colours, name) for name in ENCODINGS] + [deep_png()]))
    broken = drawn.draw(damaged(whole) | st.binary())
    try:
        pixels, _ = read_image("cat.png", io.BytesIO(broken))
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
