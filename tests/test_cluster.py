"""A sweep on a Ray cluster that is already up, joined from outside through Ray Client."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from analysis.record import Record
from tests.conftest import sweep_command


def free_port() -> int:
    """Below the range that Ray gives to its workers."""
    for port in range(9500, 9999):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port")


@pytest.fixture
def head() -> Iterator[str]:
    """The ray:// address of a real head node with two CPUs."""
    folder = tempfile.mkdtemp(dir="/tmp")  # Ray's sockets need a short path
    port = free_port()
    ray = Path(sys.executable).with_name("ray")
    command = [str(ray), "start", "--head", "--block", "--num-cpus=2", "--port=0", f"--ray-client-server-port={port}",
               "--include-dashboard=false", "--disable-usage-stats"]  # fmt: skip
    process = subprocess.Popen(
        command, env=os.environ | {"RAY_TMPDIR": folder}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < deadline, "the cluster did not start"
        time.sleep(0.5)
    yield f"ray://127.0.0.1:{port}"
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        member.kill()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_sweep_runs_through_ray_client(head: str, tmp_path: Path) -> None:
    arguments = ["--address", head, "--data", "digits", "--studies", "tables", "--only", "7", "--epochs", "1"]
    done = subprocess.run(sweep_command(*arguments), cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    trials = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits").trials()
    assert sorted(trial.name for trial in trials if trial.complete) == ["baseline", "batch-norm-yes"]
    assert "Table 7. Batch normalisation (digits)" in done.stdout
