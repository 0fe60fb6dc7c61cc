"""Real Ray clusters for benchmarks and tests: each with a port, a folder and a token of its own, and gone without a
trace after it."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray.util

RAY = str(Path(sys.executable).with_name("ray"))
STORE = "--object-store-memory=100000000"


def free_port() -> int:
    """Below the range that Ray gives to its workers, and another one for each of pytest's own."""
    first = 9500 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in range(first, first + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) and probe.connect_ex((ray.util.get_node_ip_address(), port)):
                return port
    raise AssertionError("no free port")


def wait_for(what: str, true: Callable[[], Any], seconds: float = 60) -> Any:
    """What `true` returns once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds:g} s")


def kill_where(variable: str, value: str) -> None:
    """Kill at once, without a word, all processes with that environment variable and all that they started."""
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get(variable) == value and process.pid != os.getpid():
            with suppress(psutil.NoSuchProcess):
                for member in [*process.children(recursive=True), process]:
                    member.kill()


@dataclass(frozen=True)
class Cluster:
    """A running head node."""

    address: str
    environment: dict[str, str]
    folder: Path
    """Ray's own files, in a short path: its sockets need one."""


@contextmanager
def cluster(*arguments: str, port: int | None = None, **environment: str) -> Iterator[Cluster]:
    """A head node that only holders of its token reach; all its processes are killed at the end."""
    folder, port = Path(tempfile.mkdtemp(dir="/tmp")), port or free_port()
    token = folder / "token"
    token.write_text("0123456789abcdef" * 4)
    own = {"RAY_TMPDIR": str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    command = [RAY, "start", "--head", "--block", f"--port={port}", STORE, "--disable-usage-stats", *arguments]
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | own | environment, stdout=log, stderr=log)
    try:
        wait_for("the head node", lambda: "Ray runtime started" in (folder / "head.log").read_text())
        yield Cluster(f"{ray.util.get_node_ip_address()}:{port}", os.environ | own, folder)
    finally:
        kill_where("RAY_TMPDIR", str(folder))  # not by descent: fake nodes are nobody's children
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
