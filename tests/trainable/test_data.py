"""CIFAR-10 and the digits are found, split and fingerprinted; what is missing is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SHARED_CIFAR10, needs_cifar10
from tests.images import png, write_class_folders, write_parquet
from trainable import data, sources
from trainable.errors import DataError
from trainable.image_set import CIFAR10
from trainable.sources import read_cifar10, stratified_split


def test_digits_are_real_and_say_so() -> None:
    digits = data.load("digits")
    assert (digits.name, digits.form) == ("digits", "embedded")
    assert digits.train_images.shape == (1438, 32, 32, 3)
    assert digits.test_images.shape == (359, 32, 32, 3)
    assert digits.train_images.max() == 255
    assert digits.fingerprint == "87cc3b1359ed86a5", "every recorded key has it in it"


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


@needs_cifar10
def test_real_cifar10_is_the_same_in_all_its_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet, and class folders of a tenth of it: one image in ten of each class."""
    loaded = data.load("cifar10", SHARED_CIFAR10)
    assert (len(loaded.train_labels), len(loaded.test_labels)) == (50_000, 10_000)
    assert (loaded.form, loaded.fingerprint) == ("parquet of JPEG", "ff9771f49e7f88be")
    kept = {}
    for split, labels in (("train", loaded.train_labels), ("test", loaded.test_labels)):
        kept[split] = np.concatenate([np.flatnonzero(labels == label)[::10] for label in range(10)])
        for row in kept[split]:
            file = tmp_path / split / CIFAR10.classes[labels[row]] / f"{row:05d}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(getattr(loaded, f"{split}_images")[row]).save(file)
    counts = {split: (len(rows) // 10,) * 10 for split, rows in kept.items()}
    monkeypatch.setattr(sources, "CIFAR10", CIFAR10.model_copy(update=counts))
    folders = data.load("cifar10", tmp_path)
    assert folders.form == "folders of BMP"
    for split, rows in kept.items():
        for what in (f"{split}_images", f"{split}_labels"):
            assert np.array_equal(getattr(folders, what), getattr(loaded, what)[rows])


@needs_cifar10
def test_the_environment_variable_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_DIR", str(SHARED_CIFAR10))
    assert data.describe("cifar10", download=False) == data.describe("cifar10", SHARED_CIFAR10)


def test_data_that_is_nowhere_names_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", _no_network)
    with pytest.raises(DataError) as error:
        data.load("cifar10")
    for place in ("--data-dir", "$CIFAR10_DIR", str(tmp_path), "download", "--data digits"):
        assert place in str(error.value)


@needs_cifar10
def test_a_download_that_was_interrupted_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    downloads: list[Path] = []

    def download(folder: Path) -> None:
        downloads.append(folder)
        (folder / "cifar-10-python.tar.gz").write_bytes(b"a part of it")
        if len(downloads) == 1:
            raise KeyboardInterrupt
        shutil.copytree(SHARED_CIFAR10, folder, dirs_exist_ok=True)
        (folder / "cifar-10-python.tar.gz").unlink()

    monkeypatch.setattr("trainable.sources.download_cifar10", download)
    with pytest.raises(KeyboardInterrupt):
        data.load("cifar10")
    assert data.describe("cifar10", download=False) is None, "a part of a download is not taken for data"
    assert len(data.load("cifar10").test.labels) == 10_000
    assert len(downloads) == 2 and data.describe("cifar10", download=False)


def _no_network(*_: object, **__: object) -> None:
    raise OSError("no network")


def test_a_home_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_DIR", "~nobody-here/cifar10")
    with pytest.raises(DataError, match=r"\$CIFAR10_DIR ~nobody-here/cifar10: "):
        data.load("cifar10")
