"""Shared by all tests: real commands in a folder of their own, with a private cache and a private Ray."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
import typer
from filelock import FileLock

from analysis.commandline.commands import run_command
from analysis.record.embedded import uri_of
from benchmarks.machine import sweep_command
from sweeps import full
from sweeps.planning.resources import local_cpus
from sweeps.recording.tracking import ensure_experiment, make_database
from tests.exports import export_to
from trainable.data import Dataset, load

ROOT = Path(__file__).resolve().parents[1]
SHARED_CIFAR10 = Path(os.environ.get("CIFAR10_DIR") or ROOT.parent / "shared" / "cifar10")

SLOW = (
    "sweep",
    "interruption",
    "recorder",
    "device",
    "training",
    "fused",
    "start",
    "winner",
    "ui",
    "lost_workers",
    "live",
    "import",
    "data",
    "memory",
)
"""Files that run first, the longest first of all: a process that takes one of them last would run alone."""

Command = Callable[..., subprocess.CompletedProcess]
"""Runs a command with the given arguments: the fixtures `sweep` and `here`."""
VISIBLE_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")

needs_cifar10 = pytest.mark.skipif(not SHARED_CIFAR10.is_dir(), reason="needs CIFAR-10 in $CIFAR10_DIR")


@pytest.fixture(scope="session", autouse=True)
def private_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache, a home, no settings of the person who runs the tests, no GPUs, so that sweeps run on CPUs everywhere,
    and one thread, because several tests run at once."""
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["OMP_WAIT_POLICY"] = "passive"  # trials of several cores would hold those of other tests while they wait
    home = tmp_path_factory.mktemp("home")
    os.environ["HOME"] = str(home)
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")
    for name in ("CIFAR10_DIR", "RAY_ADDRESS", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # its thread changes the environment while requests reads it
    # Ray's own is 15: beside two other tests such a worker gets nothing
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests run in a background job
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and this one under nohup


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(autouse=True)
def restored_environment() -> Iterator[None]:
    """What a command sets in this process, as a token for its Ray, is gone before the next test."""
    with mock.patch.dict(os.environ):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the files in `SLOW` before the others."""
    places = {f"test_{name}": place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: places.get(item.path.stem, len(SLOW)))


def show_gpus(patch: pytest.MonkeyPatch) -> None:
    """Undo for one test that GPUs are hidden."""
    import torch

    if VISIBLE_GPUS is None:
        patch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        patch.setenv("CUDA_VISIBLE_DEVICES", VISIBLE_GPUS)
    patch.setattr(torch.cuda, "_cached_device_count", None)  # another test may have made torch count them


@pytest.fixture
def sweep(tmp_path: Path) -> Command:
    """Runs `sweeps/full.py` with the given arguments in the test's folder."""

    def run(*arguments: str, folder: Path = tmp_path, timeout: float = 240) -> subprocess.CompletedProcess:
        return subprocess.run(
            sweep_command(*arguments), cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
        )

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process, which saves its start: a plan, a refusal, a transfer. None that starts Ray."""

    def run(*arguments: str, app: typer.Typer = full.app, folder: Path = tmp_path) -> subprocess.CompletedProcess:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run_command(app)
        return subprocess.CompletedProcess(arguments, end.value.code or 0, *capsys.readouterr())

    return run


ONE_SLOT = ["--cpus-per-trial", str(local_cpus())]
"""One trial at a time, where a test is not about several: each worker imports torch, and the trials are short."""
SWEPT = [
    "--data", "digits", "--studies", "tables,search", "--only", "6,7", "--epochs", "2", "--seeds", "2",
    "--samples", "5", "--proof-seeds", "2", "--storage-path", "store", *ONE_SLOT,
    "--notify", "http://user:T0KEN@127.0.0.1:1/T0KEN",
]  # fmt: skip
"""The sweep of the fixture `swept`. Its storage path is relative to where the person stands, and nobody listens
where it notifies."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a folder in which one sweep has run: two tables, a search and its proof.

    It runs once, for all processes of the test session. It printed `output.txt` and `progress.txt`.
    """
    shared = _shared_folder(tmp_path_factory)
    made, output = shared / "swept", shared / "swept" / "output.txt"
    with FileLock(shared / "swept.lock"):
        if not output.exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            done = subprocess.run(
                sweep_command(*SWEPT), cwd=made, capture_output=True, text=True, timeout=580, check=False
            )
            assert done.returncode == 0, done.stderr
            (made / "progress.txt").write_text(done.stderr)
            output.write_text(done.stdout)
    copy = shutil.copytree(made, tmp_path_factory.mktemp("copy") / "swept")
    ensure_experiment(f"sqlite:///{copy}/mlflow.db", "ablations-digits")  # its artifacts are the copy's from now on
    return Path(copy)


@pytest.fixture(scope="session")
def empty_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a record that holds nothing, made once for all processes of the test session."""
    database = _shared_folder(tmp_path_factory) / "empty-record" / "mlflow.db"
    make_database(database)
    return database


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """An exported record."""
    return export_to(tmp_path / "exported")


@pytest.fixture(scope="module")
def record_uri(tmp_path_factory: pytest.TempPathFactory, empty_record: Path) -> str:
    """The URI of a record. Each import goes to an experiment of its own."""
    uri = uri_of(Path(shutil.copy(empty_record, tmp_path_factory.mktemp("record"))))
    ensure_experiment(uri, "none")
    return uri


@pytest.fixture
def made_record(empty_record: Path, tmp_path: Path) -> None:
    """The test's folder has an empty record already. For tests of other things: MLflow takes seconds to make one."""
    shutil.copy(empty_record, tmp_path / "mlflow.db")


def _shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the test session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
