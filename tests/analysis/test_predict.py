"""The registered model answers as its network does: to the command, and over HTTP."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
import uvicorn
from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT
from mlflow.pyfunc import scoring_server
from PIL import Image
from safetensors.torch import save_file

from analysis.predict import app, load_champion
from benchmarks.clusters import free_port, wait_for
from sweeps.recording.model_package import save_model
from sweeps.recording.tracking import ensure_experiment
from tests.conftest import ROOT, Command
from trainable.batches import normalise
from trainable.config import Config
from trainable.evaluate import load_model
from trainable.model import build

EXPERIMENT = "ablations-cifar10"
MODEL = f"{EXPERIMENT}-best-bn"
CONFIG = Config(batch_norm=True, channels=(4, 4), hidden=(8, 8))
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, empty_record: Path) -> Path:
    """A folder with a record whose registry has a champion, and with the champion's weights."""
    folder = tmp_path_factory.mktemp("predict")
    shutil.copy(empty_record, folder / "mlflow.db")
    torch.manual_seed(0)
    network = build(CONFIG)
    save_file({f"seed_0/{name}": each for name, each in network.state_dict().items()}, folder / "weights.safetensors")
    save_model(CONFIG, folder / "weights.safetensors", folder / "model")
    client, experiment = ensure_experiment(uri(folder), EXPERIMENT)
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(folder / "model"), "model")
    client.create_registered_model(MODEL)
    version = client.create_model_version(MODEL, f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias(MODEL, "champion", version.version)
    client.create_registered_model("unproven")
    return folder


def uri(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def expected(folder: Path, images: np.ndarray) -> np.ndarray:
    """The class probabilities by the network in plain torch."""
    network = load_model(CONFIG, folder / "weights.safetensors", seed=0)
    with torch.inference_mode():
        return network(normalise(torch.from_numpy(images)[:, None])).softmax(1).numpy()


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_each_image_has_its_class_and_probability(store: Path, tmp_path: Path) -> None:
    picture = Image.fromarray(noise(1)[0])
    files = {
        "rgb.png": picture, "grey.png": picture.convert("L"), "palette.png": picture.convert("P"),
        "transparent.png": picture.convert("RGBA"), "photo.jpg": picture,
    }  # fmt: skip
    for name, each in files.items():
        each.save(tmp_path / name)
    command = [sys.executable, "-m", "analysis.predict", *(str(tmp_path / name) for name in files)]
    done = subprocess.run(
        [*command, "--tracking-uri", uri(store)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    seen = [np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in files]
    lines = [
        f"{tmp_path / name}: {CLASSES[probabilities.argmax()]} {probabilities.max():.3f}"
        for name, probabilities in zip(files, expected(store, np.stack(seen)), strict=True)
    ]
    assert done.stdout.splitlines() == lines


def test_the_model_returns_probabilities(store: Path) -> None:
    images = noise(3)
    probabilities = load_champion(MODEL, uri(store))[0].predict(images)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (3, 10))
    assert probabilities.sum(1) == pytest.approx(1)
    assert probabilities == pytest.approx(expected(store, images))


def refused(here: Command, file: Path, folder: Path, *options: str) -> str:
    """The one line in which the command refuses a file or a model."""
    done = here(str(file), *options, "--tracking-uri", uri(folder), app=app)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "write", "problem"),
    [
        ("small.png", lambda file: Image.new("RGB", (8, 8)).save(file), "the image is 8x8 pixels; expected 32x32"),
        ("deep.png", lambda file: Image.fromarray(np.full((32, 32), 60_000, np.uint16)).save(file),
         "pixels of mode I;16B; expected RGB, grey or a palette of 8 bits a channel"),
        ("notes.png", lambda file: file.write_text("no image"), "not a readable image: "),
        ("missing.png", lambda file: None, "not a readable image: [Errno 2] No such file or directory"),
    ],
)  # fmt: skip
def test_a_bad_image_is_one_line(
    name: str, write: Callable[[Path], object], problem: str, store: Path, tmp_path: Path, here: Command
) -> None:
    write(tmp_path / name)
    assert refused(here, tmp_path / name, store).startswith(f"error: {tmp_path / name}: {problem}")


@pytest.mark.parametrize("name", ["unheard-of", "unproven"])
def test_a_missing_model_or_alias_is_one_line(name: str, store: Path, tmp_path: Path, here: Command) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    wanted = f"error: --model {name}: no champion in {uri(store)}: "
    assert refused(here, tmp_path / "black.png", store, "--model", name).startswith(wanted)


def test_a_missing_record_is_not_made(tmp_path: Path, here: Command) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    assert refused(here, tmp_path / "black.png", tmp_path) == f"error: no record at {uri(tmp_path)}"
    assert not (tmp_path / "mlflow.db").exists()


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[str]:
    """The URL of the champion in the server that `mlflow models serve` starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_MLFLOW_IS_IN_SERVING_ENVIRONMENT.name, "true")  # as it does itself, for good
        port = free_port()
        service = scoring_server.init(load_champion(MODEL, uri(store))[0])
        serving = uvicorn.Server(uvicorn.Config(service, port=port, log_level="error"))
        thread = threading.Thread(target=serving.run)
        thread.start()
        wait_for("the server", lambda: serving.started)
        yield f"http://127.0.0.1:{port}/invocations"
        serving.should_exit = True
        thread.join()


def test_mlflows_server_answers_the_same(server: str, store: Path) -> None:
    images = noise(2)
    answer = requests.post(server, json={"inputs": images.tolist()}, timeout=60)
    assert answer.status_code == 200
    assert np.array(answer.json()["predictions"]) == pytest.approx(expected(store, images))


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (np.zeros((1, 8, 8, 3), int), "Shape of input (1, 8, 8, 3) does not match expected shape (-1, 32, 32, 3)."),
        (np.full((1, 32, 32, 3), 300), "300 out of bounds for uint8"),
    ],
)
def test_mlflows_server_refuses_other_inputs(images: np.ndarray, problem: str, server: str) -> None:
    answer = requests.post(server, json={"inputs": images.tolist()}, timeout=60)
    assert answer.status_code == 400
    assert problem in answer.json()["message"]
