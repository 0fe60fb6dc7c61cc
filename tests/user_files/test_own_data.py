"""A data set of one's own: images in folders by class, or Parquet files, of any size and number of classes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from pydantic import ValidationError
from safetensors.torch import save_file
from torch.nn import functional as F

from analysis.plots.class_predictions import draw_class_errors, draw_confusion
from analysis.proof import Predicted
from analysis.statistics.cells import cell_of
from analysis.writing.config_text import config_text
from sweeps.recording.model_package import save_model
from tests.analysis_records import Recorded, page_of, sweep, table, trial
from tests.conftest import Command
from tests.images import png
from tests.own_data import SHAPES, write_shapes
from tests.own_networks import ARGUMENTS, FILE
from trainable.batches import Batches
from trainable.config import Config
from trainable.data import find, load, load_same
from trainable.errors import DataError
from trainable.image_set import BUILT_IN, MOST_CHARACTERS, ImageSet
from trainable.model import MaxPool
from trainable.own_code.loading import OwnCodeError
from trainable.own_code.network import forward_flops
from trainable.problem import first_problem
from trainable.training import Trainer, train

NETWORK = {"channels": (4, 8), "hidden": (32, 16), "epochs": 6, "lr": 0.005}
GALAXIES = ImageSet(name="galaxies", classes=("spiral", "round"), size=64, train=(90, 10), test=(19, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("own") / "shapes")


def test_it_is_what_its_folder_says(folder: Path) -> None:
    shapes = load("shapes", folder)
    assert shapes.image_set == find("shapes", folder)
    assert shapes.image_set == ImageSet(
        name="shapes", classes=("hook", "line", "ring"), size=30, train=(40,) * 3, test=(10,) * 3
    )
    assert (shapes.form, shapes.train_images.shape) == ("folders of PNG", (120, 30, 30, 3))
    first = np.asarray(Image.open(min((folder / "test" / "hook").iterdir())).convert("RGB"))
    assert np.array_equal(shapes.test_images[0], first) and shapes.test_labels[0] == 0


def test_parquet_files_name_their_classes_as_the_hugging_face_hub_does(tmp_path: Path) -> None:
    cells = [{"bytes": png(28, seed), "path": None} for seed in range(20)]
    images = pa.table({"image": cells, "coarse_label": [0] * 20, "fine_label": [0, 1] * 10})
    features = {"info": {"features": {"fine_label": {"names": ["coat", "bag"], "_type": "ClassLabel"}}}}
    for split in ("train", "test"):
        named = images.replace_schema_metadata({"huggingface": json.dumps(features)})
        parquet.write_table(named, tmp_path / f"{split}-00000-of-00001.parquet")
    coats = find("fashion", tmp_path)
    assert (coats.classes, coats.size, coats.train) == (("coat", "bag"), 28, (10, 10))
    for split in ("train", "test"):
        parquet.write_table(images, tmp_path / f"{split}-00000-of-00001.parquet")
    assert find("fashion", tmp_path).classes == ("0", "1"), "without names they are numbers"


def test_a_config_counts_the_images_of_each_protocol(folder: Path) -> None:
    named = {name: load(name) for name in ("digits",)} | {"shapes": load("shapes", folder)}
    for name, data in named.items():
        assert data.image_set == BUILT_IN.get(name, data.image_set)
        for protocol, held_out in (("A", "test"), ("B", "val")):
            config = Config(data=data.image_set, protocol=protocol)
            splits = data.splits(config.protocol)
            assert (config.train_images, config.held_out_images) == (len(splits["train"]), len(splits[held_out]))


def test_its_description_is_part_of_the_key_and_survives_as_json(tmp_path: Path) -> None:
    own = Config(data=GALAXIES)
    assert Config(**json.loads(own.model_dump_json())) == own == Config(**json.loads(json.dumps(own.canonical())))
    renamed = own.change(data=GALAXIES.model_copy(update={"classes": ("spiral", "smooth")}))
    assert len({each.key("f") for each in (own, renamed, Config())}) == 3
    assert (own.flat()["data"], own.setting) == ("galaxies", "galaxies, 20 epochs, fp32")
    assert Config(data="digits").canonical() == {"data": "digits"} == Config(data=BUILT_IN["digits"]).canonical()
    assert "name: galaxies" in config_text("x", own, "")


def test_at_chance_is_what_one_answer_gives() -> None:
    assert Config().chance == Config(protocol="B").chance == 0.89
    unequal = Config(data=GALAXIES)
    assert unequal.chance == pytest.approx(0.045), "one answer for all is wrong for one of 20"
    for error, at_chance in ((0.05, True), (0.04, False)):
        cell = cell_of({0: [(1, error)]}, unequal.chance)
        assert cell is not None and cell.learned_nothing == at_chance


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"data": "galaxies"},
            "data 'galaxies': should be cifar10 or digits, or a data set of one's own, which --data",
        ),
        (
            {"data": GALAXIES.model_dump() | {"name": "digits"}},
            "data of one's own: name 'digits' is that of other images",
        ),
        ({"data": GALAXIES.model_dump() | {"size": 16}}, "size 16: should be greater than or equal to 17"),
        ({"data": GALAXIES.model_dump() | {"train": [90]}}, "with a number in train and in test for each"),
        ({"data": GALAXIES.model_dump() | {"train": [10**400, 10]}}, "images in train; allowed: 10 to 100,000,000"),
        (
            {"network": "vgg-a", "data": GALAXIES.model_copy(update={"size": 31})},
            "network: vgg-a needs images of 32 pixels; those of galaxies have fewer",
        ),
        (
            {"data": GALAXIES.model_dump() | {"classes": ["a" * MOST_CHARACTERS, "b"]}},
            "the names of the classes and their numbers of images have 7,",
        ),
    ],
)
def test_a_config_refuses_what_it_cannot_train(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Config(**{"data": GALAXIES} | fields)
    assert problem in str(first_problem(refused.value, Config))


def test_its_report_shows_no_figures_of_cifar10(tmp_path: Path) -> None:
    own = [
        trial(row.name, {0: [0.2], 1: [last]}, row.config)
        for row, last in zip(table(GALAXIES).rows, (0.05, 0.01), strict=True)
    ]
    page = page_of(tmp_path, Recorded(own, sweep(table(GALAXIES))))
    assert page.startswith("# Ablations on galaxies")
    assert "Table 3. Loss" in page and "cross-entropy, seeds 0 and 1 learned nothing" in page
    assert "Table 1" not in page and "reported" not in page.partition("# Table 3. Loss")[2]


def test_many_classes_have_room(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(100)]
    labels = np.arange(100, dtype=np.uint8)
    predicted = {0: Predicted(labels, labels[::-1].copy(), np.full(100, 0.5))}
    file = draw_confusion(predicted, names, "100 classes", tmp_path / "confusion.png")
    draw_class_errors({"one": predicted}, names, tmp_path / "errors.png")
    assert len(file.with_suffix(".csv").read_text().splitlines()) == 101


def test_a_winners_file_is_of_its_own_images(here: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(config_text("x", Config(data=find("shapes", folder), **NETWORK), "A winner."))
    options = ("--config", "x.yaml", "--dry-run", "--data-dir")
    planned = here(*options, str(folder), "--json")
    assert json.loads(planned.stdout)["configs"][0]["config"]["data"]["name"] == "shapes"
    write_shapes(tmp_path / "fewer", train=12)
    refused = here(*options, "fewer")
    assert refused.returncode == 2
    assert refused.stderr == "error: --config x.yaml: its data shapes and that in --data-dir fewer differ in train\n"
    unnamed = here("--config", "x.yaml", "--dry-run")
    assert (
        unnamed.stderr == "error: --config x.yaml: its data is shapes; name the folder of the images with --data-dir\n"
    )


def test_changed_images_are_other_trainings(here: Command, tmp_path: Path) -> None:
    own = write_shapes(tmp_path / "own", train=12, test=2)
    options = ("--data", "shapes", "--data-dir", "own", "--only", "7", "--dry-run", "--json")
    keys = {each["key"] for each in json.loads(here(*options).stdout)["configs"]}
    image = np.array(Image.open(file := min((own / "train" / "ring").iterdir())))
    image[0, 0] ^= 1
    Image.fromarray(image).save(file)
    assert not keys & {each["key"] for each in json.loads(here(*options).stdout)["configs"]}


@pytest.mark.parametrize("fields", [{"batch_norm": True}, {"shift": 2, "flip": True, "cutout": 9}, {"protocol": "B"}])
def test_the_built_in_network_learns_it(fields: dict[str, Any], folder: Path) -> None:
    shapes = load("shapes", folder)
    config = Config(data=shapes.image_set, batch_size=16, **NETWORK | fields)
    first, *_, last = train(config, shapes, (0, 1))
    assert last.mean("train_error") < config.chance
    fused = Trainer(config, shapes, (0, 1), fused=True)
    assert fused.run_epoch().mean("train_loss") == pytest.approx(first.mean("train_loss"), rel=1e-3)


@pytest.mark.parametrize(("images", "sizes"), [(33, [16, 17]), (34, [16, 16, 2]), (32, [16, 16]), (15, [15])])
def test_a_last_batch_of_one_image_joins_the_one_before_for_batch_norm(images: int, sizes: list[int]) -> None:
    digits = load("digits")
    split = replace(digits.splits("A")["train"], index=np.arange(images))
    for changes, expected in (({"batch_norm": True}, sizes), ({}, [16, 16, 1] if images == 33 else sizes)):
        batches = Batches(split, Config(data="digits", batch_size=16, **changes), torch.device("cpu"))
        made = [len(rows_ns) for rows_ns, _ in batches.shuffled([torch.Generator()])]
        assert made == expected and batches.steps_per_epoch == len(expected)


def test_other_data_than_the_config_names_is_refused(folder: Path) -> None:
    shapes = load("shapes", folder)
    for config in (Config(), Config(data=GALAXIES), Config(data=shapes.image_set.model_copy(update={"name": "other"}))):
        with pytest.raises(DataError, match="the given data shapes with images of 30 pixels in 3 classes"):
            Trainer(config, shapes)


def test_pooling_leaves_out_a_last_odd_line() -> None:
    features_nchw = torch.rand(2, 3, 7, 5)
    with torch.no_grad():
        assert torch.equal(MaxPool()(features_nchw), F.max_pool2d(features_nchw, 2))


def test_a_network_of_ones_own_is_tried_on_its_images() -> None:
    assert forward_flops(FILE, ARGUMENTS, BUILT_IN["digits"]) > 1
    with pytest.raises(OwnCodeError, match=r"on images \(2, 3, 64, 64\): line 14"):
        forward_flops(FILE, ARGUMENTS, GALAXIES)
    with pytest.raises(OwnCodeError, match=r"must return scores \(2, 2\), and returned a tensor \(2, 10\)"):
        forward_flops(FILE, ARGUMENTS, GALAXIES.model_copy(update={"size": 32}))


def test_its_model_takes_its_images_and_gives_its_classes(folder: Path, tmp_path: Path) -> None:
    shapes = load("shapes", folder)
    trainer = Trainer(Config(data=shapes.image_set, **NETWORK), shapes)
    save_file(trainer.weights(), tmp_path / "weights.safetensors")
    save_model(trainer.config, tmp_path / "weights.safetensors", tmp_path / "model")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert model.predict(np.asarray(shapes.test_images[:4])).shape == (4, len(SHAPES))
    with pytest.raises(mlflow.MlflowException, match="schema"):
        model.predict(np.zeros((1, 32, 32, 3), np.uint8))


def test_another_node_with_other_images_is_refused(folder: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "own")
    same = load_same("shapes", tmp_path / "own", load("shapes", folder).fingerprint)
    assert same.form == "folders of PNG"
    (tmp_path / "own").rename(tmp_path / "moved")
    assert load_same("shapes", tmp_path / "own", same.fingerprint) is same, "a process looks for the files once"
    with pytest.raises(DataError, match="give every node the same data"):
        load_same("shapes", write_shapes(tmp_path / "fewer", train=12), same.fingerprint)
