"""A real MLflow server that can be killed and started again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

from benchmarks.clusters import free_port


class Server:
    """A server over the database at `store`, with its artifacts and its log in a folder."""

    def __init__(self, folder: Path, store: str, artifacts: str = "artifacts") -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder, self._store, self._artifacts = folder, store, artifacts
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1",
                   "--backend-store-uri", self._store,
                   "--artifacts-destination", str(self._folder / self._artifacts)]  # fmt: skip
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._folder / "server.txt").open("a") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=environment, start_new_session=True, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 90
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "server.txt").read_text()
            time.sleep(0.3)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=2).ok
        except requests.RequestException:
            return False
