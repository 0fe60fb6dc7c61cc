"""What all benchmarks share: a description of the machine, and the folder of results."""

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
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "torchvision", "ray", "optuna", "mlflow")


def describe(device: str = "cpu") -> dict[str, Any]:
    """Hardware, package versions, commit and date: what a measurement was made on. `device` is `cpu` or `cuda`."""
    import torch

    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown",
        "date": date.today().isoformat(),
    }


def measured_on(machine: dict[str, Any]) -> str:
    """What `describe` returned, as a line of Markdown."""
    hardware = machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores"
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items() if value)
    return f"*{hardware}; {versions}; commit `{machine['commit']}`, {machine['date']}.*"


def save(name: str, device: str, figures: dict[str, Any]) -> Path:
    """Write a measurement as `benchmarks/results/NAME-DEVICE.json`, and print it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{device}.json"
    text = json.dumps({"machine": describe(device), **figures}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    print(text)
    return path


def spread(values: list[float]) -> dict[str, Any]:
    """The median, range and number of repeated measurements."""
    return {"median": median(values), "min": min(values), "max": max(values), "n": len(values)}


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
