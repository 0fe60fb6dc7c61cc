"""Shared by all tests: real commands in a folder of their own, with a private cache and a private Ray."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_CIFAR10 = Path(os.environ.get("CIFAR10_DIR", ROOT.parent / "shared" / "cifar10"))

VISIBLE_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")

needs_cifar10 = pytest.mark.skipif(not SHARED_CIFAR10.is_dir(), reason="needs CIFAR-10 in $CIFAR10_DIR")


@pytest.fixture(scope="session", autouse=True)
def private_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache, a home, no settings of the person who runs the tests, and no GPUs: sweeps run on CPUs everywhere."""
    home = tmp_path_factory.mktemp("home")
    os.environ["HOME"] = str(home)
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")
    for name in ("CIFAR10_DIR", "RAY_ADDRESS", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def show_gpus(patch: pytest.MonkeyPatch) -> None:
    """Undo for one test that GPUs are hidden."""
    import torch

    if VISIBLE_GPUS is None:
        patch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        patch.setenv("CUDA_VISIBLE_DEVICES", VISIBLE_GPUS)
    patch.setattr(torch.cuda, "_cached_device_count", None)  # another test may have made torch count them


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `sweeps/full.py` with the given arguments in the test's folder."""

    def run(*arguments: str, folder: Path = tmp_path, timeout: float = 240) -> subprocess.CompletedProcess:
        return subprocess.run(
            sweep_command(*arguments), cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
        )

    return run


def sweep_command(*arguments: str) -> list[str]:
    """The command as a person types it."""
    return [sys.executable, str(ROOT / "sweeps" / "full.py"), *arguments]
