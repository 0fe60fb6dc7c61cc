"""What all benchmarks share: their options, a description of the machine, and the folder of results."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

import typer

from trainable.trial import Device

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "torchvision", "ray", "optuna", "mlflow")
BF16_FLAGS = ("avx512_bf16", "amx_bf16")
"""Processors with one of these multiply bfloat16 natively."""

TERMS = (
    "A *slot* is what one trial occupies: a CPU core, or a share of a GPU. The *driver* is the process of the command, "
    "which runs Ray Tune. The *recorder* writes results to MLflow, in the driver or in processes of its own."
)
"""What the pages say of the words that they use."""

NETWORKS: dict[str, dict[str, Any]] = {"baseline": {}, "batch_norm": {"batch_norm": True}}
"""The networks that are compared, by name: what each changes in the baseline."""

DataOption = Annotated[Literal["cifar10", "digits"], typer.Option(help="The data set.")]
DataDirOption = Annotated[str | None, typer.Option(help="Folder of CIFAR-10.")]
DeviceOption = Annotated[Device, typer.Option(help="What trains.")]


def sweep_command(*arguments: str) -> list[str]:
    """The command as a person types it."""
    return [sys.executable, str(ROOT / "sweeps" / "full.py"), *arguments]


def describe(device: str = "cpu") -> dict[str, Any]:
    """Hardware, package versions, commit and date: what a measurement was made on. `device` is `cpu` or `cuda`."""
    import torch

    said = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in said if ":" in line]))
    native = sorted({*cpu.get("flags", "").split()} & {*BF16_FLAGS})
    versions = {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}
    if device == "cuda":
        versions |= {"CUDA": torch.version.cuda, "cuDNN": str(torch.backends.cudnn.version())}
    changed = _git("status", "--porcelain", "--", ".", ":!docs", ":!benchmarks/results")
    return {
        "cpu": ", ".join([cpu.get("model name", platform.machine()), *native]),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "versions": versions,
        "commit": (_git("rev-parse", "--short=12", "HEAD") or "unknown") + "-dirty" * bool(changed),
        "date": date.today().isoformat(),
    }


def measured_on(machine: dict[str, Any]) -> str:
    """What `describe` returned, as a line of Markdown."""
    hardware = ", ".join(filter(None, (machine["gpu"], machine["cpu"], f"{machine['cores']} cores")))
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items() if value)
    return f"*{hardware}; {versions}; commit `{machine['commit']}`, {machine['date']}.*"


def results_file(name: str, device: str = "cpu") -> Path:
    """The file of a measurement's results."""
    return RESULTS / f"{name}-{device}.json"


def save(name: str, device: str, figures: dict[str, Any]) -> None:
    """Write a measurement as `benchmarks/results/NAME-DEVICE.json`, and print it."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": describe(device), **figures}, indent=1)
    results_file(name, device).write_text(text + "\n", encoding="utf-8")
    print(text)


def load(name: str, device: str = "cpu") -> dict[str, Any]:
    """The figures that `save` wrote, with the machine's."""
    return json.loads(results_file(name, device).read_text(encoding="utf-8"))


def spread(values: list[float]) -> dict[str, Any]:
    """The median, range and number of repeated measurements."""
    return {"median": median(values), "min": min(values), "max": max(values), "n": len(values)}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def alone(function: str, **arguments: Any) -> Any:
    """Call a function, named as `module:function`, in a new process, so that it has its own memory and its own Ray.

    Arguments and result must be JSON values. Raises `RuntimeError` with the process's errors where it fails.
    """
    module, _, name = function.partition(":")
    code = (
        f"import json, sys; from {module} import {name}; "
        f"result = {name}(**json.loads(sys.argv[1])); open(sys.argv[2], 'w').write(json.dumps(result))"
    )
    with tempfile.NamedTemporaryFile() as answer:
        command = [sys.executable, "-c", code, json.dumps(arguments), answer.name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        result = json.loads(Path(answer.name).read_text())
    print(arguments, result, flush=True)
    return result
