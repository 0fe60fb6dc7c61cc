"""The device of every training and surface is the one that its resources name, whatever torch sees."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import ray
import torch
from ray.tune import PlacementGroupFactory
from ray.tune.result import TRIAL_INFO
from rich.console import Console
from safetensors.numpy import load as load_arrays

from sweeps.fault import Fault
from sweeps.observer import Observer
from sweeps.planning import surface_plan
from sweeps.planning.resources import Resources
from sweeps.planning.surface_plan import PlannedSurface
from sweeps.running import surface_tasks, trials
from sweeps.running.cluster import connect
from sweeps.running.specs import TrialContext
from sweeps.running.surface_tasks import Line, SurfaceGrid, compute_lines
from sweeps.running.trials import Stage
from tests.analysis_records import TAGS, trial
from tests.conftest import ROOT, Command
from tests.specs import digits_spec
from trainable.config import Config
from trainable.data import Dataset
from trainable.device import DeviceError, autocast
from trainable.model import build
from trainable.storage import TrialStorage
from trainable.training import train
from trainable.trial import TrialEnd
from trainable.tune_trainable import TuneTrainable, report_of, tune_config

CONFIG = Config(data="digits", channels=(2, 4), hidden=(8, 8), optimizer="sgd", batch_size=512, epochs=1)
USELESS = r"cannot use the GPU that it was given.*--gpus-per-trial 0"


@pytest.fixture
def torch_sees_a_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)


def trainable(folder: Path, resources: Resources) -> TuneTrainable:
    """An actor's trainable, with the resources that Tune gave it."""
    config, given = tune_config(digits_spec(CONFIG, folder)), [{"CPU": resources.cpus, "GPU": resources.gpus}]
    return TuneTrainable({**config, TRIAL_INFO: SimpleNamespace(trial_resources=PlacementGroupFactory(given))})


@pytest.mark.parametrize("torch_sees_a_gpu", [True], indirect=True)
def test_a_trial_without_a_gpu_trains_on_the_cpu_where_torch_sees_one(tmp_path: Path, torch_sees_a_gpu: None) -> None:
    report = report_of(trainable(tmp_path, Resources(2, gpus=0)).step())
    assert report.environment is not None
    assert report.environment.device == Resources(2, gpus=0).device == "cpu"
    assert report.environment.device_name.endswith("2 thread(s)"), "as many as its cores"
    torch.set_num_threads(1)


@pytest.mark.parametrize("torch_sees_a_gpu", [False], indirect=True)
def test_a_trial_with_a_gpu_that_torch_cannot_use_fails_and_says_so(tmp_path: Path, torch_sees_a_gpu: None) -> None:
    with pytest.raises(DeviceError, match=USELESS):
        trainable(tmp_path, Resources(1, gpus=0.25)).step()


@pytest.mark.parametrize(("torch_sees_a_gpu", "gpus"), [(True, 0), (False, 1)], indirect=["torch_sees_a_gpu"])
def test_a_surface_is_computed_on_what_it_was_given(
    digits: Dataset, tmp_path: Path, torch_sees_a_gpu: None, gpus: float
) -> None:
    weights = {name: tensor.numpy() for name, tensor in build(CONFIG).state_dict().items()}
    storage, context = TrialStorage(str(tmp_path), "surface", (0,)), TrialContext(digits.fingerprint, None, "")

    def compute() -> np.ndarray:
        grid = SurfaceGrid(CONFIG, np.linspace(-1, 1, 3), 2000, storage, context, Resources(2, gpus))
        (line,) = compute_lines(grid, weights, [0])
        return line.loss

    if gpus:
        with pytest.raises(DeviceError, match=USELESS):
            compute()
    else:
        assert compute().shape == (3,)
        assert torch.get_num_threads() == 2, "as many as the cores that it was given"
        torch.set_num_threads(1)


def test_a_machine_whose_gpu_cannot_be_used_starts_nothing(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    refused = here("--data", "digits", "--studies", "tables", "--only", "7")
    (line,) = refused.stderr.splitlines()
    assert refused.returncode == 2 and re.search(USELESS, line)


def test_a_gpu_without_bf16_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch would emulate it, and cuDNN would find no kernel."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(DeviceError, match=r"Tesla T4 does not compute in bf16; --precision fp32 does without it"):
        autocast(Config(precision="bf16"), torch.device("cuda"))


def test_a_kind_of_device_that_is_not_known_is_refused_by_name(digits: Dataset) -> None:
    with pytest.raises(DeviceError, match="device 'mps' is unknown; allowed: cpu, cuda"):
        next(train(CONFIG, digits, device="mps"))


@pytest.mark.parametrize(
    ("environment", "session"),
    [
        ({"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}, ""),
        ({}, "torch.backends.fp32_precision = 'tf32'"),
        ({}, "torch.set_float32_matmul_precision('medium')"),
    ],
)
def test_fp32_is_fp32_whatever_the_environment_or_the_session_asks_for(
    environment: dict[str, str], session: str
) -> None:
    code = f"""
import torch
from trainable.device import prepare_torch
backends = torch.backends
products = backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv
{session}
print(any(each.fp32_precision in ("tf32", "bf16") for each in products))
prepare_torch("cpu")
print(*(each.fp32_precision for each in products), backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32)
"""
    command = [sys.executable, "-c", code]
    environment = os.environ | environment
    answer = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", *["ieee"] * 4, "False", "False"]


@pytest.fixture(scope="module")
def ray_with_two_gpus() -> Iterator[None]:
    """A local Ray that hands out two GPUs, whether the machine has them or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        connect(None)
        yield
        ray.shutdown()


@pytest.mark.parametrize(("gpus", "visible"), [(0, ""), (1, "0")])
def test_work_sees_the_gpus_that_it_was_given_and_no_others(ray_with_two_gpus: None, gpus: float, visible: str) -> None:
    seen = ray.remote(num_gpus=gpus)(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
    assert ray.get(seen.remote()) == visible


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_trial_is_given_its_gpu(
    ray_with_two_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: float
) -> None:
    """Where there is none that torch could use, the trial says so."""
    errors: list[str] = []

    class Errors(Observer):
        def trial_ended(self, trial_id: str, end: TrialEnd, fault: Fault) -> None:
            errors.append(fault.text)

    monkeypatch.setattr(trials, "RETRIES", 0)
    stage = Stage(name="t", resources=Resources(1, gpus), observers=[Errors()], storage_path=str(tmp_path))
    trials.run_trials([digits_spec(CONFIG, tmp_path)], stage)
    (error,) = errors
    assert ("cannot use the GPU that it was given" in error) is (gpus > 0 and not torch.cuda.is_available())


def test_surfaces_are_computed_together_and_one_that_fails_does_not_stop_the_others(
    ray_with_two_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(grid: SurfaceGrid, weights: dict, numbers: Sequence[int]) -> list[Line]:
        if grid.config.loss == "hinge":
            raise RuntimeError("out of memory")
        return [Line(np.zeros(len(grid.axis)), np.zeros(len(grid.axis)), np.array(1)) for _ in numbers]

    monkeypatch.setattr(surface_tasks, "compute_lines", compute)
    record = cast(Any, SimpleNamespace(arrays=lambda *_: {"seed_0/conv1.weight": np.zeros(1)}))
    written: list[partial] = []
    recorder = cast(Any, SimpleNamespace(act=written.append))
    changes: dict[str, dict[str, Any]] = {"plain": {}, "hinge": {"loss": "hinge"}, "normed": {"batch_norm": True}}
    surfaces = [
        PlannedSurface(trial(name, {0: [0.3]}, Config(data="digits", **change), tags=TAGS))
        for name, change in changes.items()
    ]
    context = TrialContext("f", None, str(tmp_path), slots=20)
    failed: list[str] = []
    tasks = surface_tasks.SurfaceTasks(record, recorder, Resources(0.1), context, Console(quiet=True))
    tasks.compute(surfaces, lambda surface, error: failed.append(surface.trial.name))
    assert failed == ["hinge"], "it is told once"
    assert {write.args[0].name for write in written} == {"plain", "normed"}


LINES = 4
"""Lines of a surface that a process computes on a GPU, in the test below."""


@pytest.mark.parametrize("resources", [Resources(1), pytest.param(Resources(1, gpus=1), marks=pytest.mark.sweeps)])
def test_a_surface_is_computed_whole_and_no_process_changes_its_gpu(
    ray_with_two_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: Resources
) -> None:
    """A process keeps the GPU that CUDA first saw, so that each task on GPUs needs a process of its own."""

    def compute(grid: SurfaceGrid, weights: dict, numbers: Sequence[int]) -> list[Line]:
        time.sleep(0.2)  # so that both slots get some
        points = len(grid.axis)
        return [Line(np.full(points, number), np.full(points, os.getpid()), np.array(1)) for number in numbers]

    monkeypatch.setattr(surface_tasks, "compute_lines", compute)
    record = cast(Any, SimpleNamespace(arrays=lambda *_: {"seed_0/conv1.weight": np.zeros(1)}))
    written: list[partial] = []
    recorder = cast(Any, SimpleNamespace(act=written.append))
    monkeypatch.setattr(surface_plan, "LINES_ON_A_GPU", LINES)
    surface = PlannedSurface(trial("baseline", {0: [0.3]}, Config(data="digits"), tags=TAGS))
    assert surface.size.points > LINES
    context = TrialContext("f", None, str(tmp_path), slots=2)
    tasks = surface_tasks.SurfaceTasks(record, recorder, resources, context, Console(quiet=True))
    tasks.compute([surface], lambda _, error: pytest.fail(str(error)))
    arrays = load_arrays(written[0].args[1])
    assert arrays["loss"][:, 0].tolist() == list(range(surface.size.points))
    processes = Counter(arrays["error"][:, 0].tolist())
    assert max(processes.values()) <= LINES if resources.gpus else len(processes) <= 2
