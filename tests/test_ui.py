"""The MLflow UI over a finished sweep, driven in a real browser: what a person sees without setting anything up."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import requests

from tests.conftest import ROOT, sweep_command

pytestmark = [pytest.mark.ui, pytest.mark.timeout(420)]
CHROMIUM = shutil.which("chromium")
SCREENSHOTS = ROOT / "docs" / "ui"
BROWSER = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
ARGUMENTS = ["--data", "digits", "--studies", "tables,search", "--only", "6,7", "--epochs", "4", "--samples", "3"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The UI's address, over the record of a small sweep."""
    folder = tmp_path_factory.mktemp("ui")
    subprocess.run(sweep_command(*ARGUMENTS), cwd=folder, capture_output=True, timeout=240, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.txt").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "1"], cwd=folder, stdout=log, stderr=log, env=environment,
            start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def wait_for(address: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            if requests.get(f"{address}/health", timeout=2).ok:
                return
        except requests.RequestException:
            pass
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.5)
