"""The Ray that runs the trials: a local one, or a cluster that is already up."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import analysis
import sweeps
import trainable
from analysis.record.trial_errors import last_error
from sweeps.planning.resources import GPU_MEMORY, Resources, local_resources
from trainable.errors import UsageError, first_line

ROOT = Path(__file__).resolve().parents[2]
REACH_S = 5.0
SOCKET_BYTES = 107
"""The longest name of a Unix socket."""
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # hide the GPUs from work that asks for none: torch's Adam opens a context on any GPU that it sees
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


def check_address(address: str | None) -> None:
    """Check that a local Ray can start or a cluster can be joined, and choose how to authenticate there. Ray must not
    be imported before.

    Raises `UsageError` where Ray cannot keep its files here, or where nothing answers at an explicit address within a
    few seconds.
    """
    if address is None:
        _check_temporary_folder()
        if not _has_token():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # Ray would write one into the home, for all clusters
        return
    if _has_token():  # Ray sends it of itself only to a cluster that it has just started
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    if address == "auto":
        return
    try:
        parts = urlsplit(address if "://" in address else f"ray-gcs://{address}")
        if parts.hostname is None or parts.port is None:
            raise ValueError("expected auto, HOST:PORT or ray://HOST:PORT")
        socket.create_connection((parts.hostname, parts.port), timeout=REACH_S).close()
    except (OSError, ValueError) as error:
        raise UsageError(f"--address {address}: no Ray cluster there: {error}") from error


def _check_temporary_folder() -> None:
    """Raises `UsageError` where Ray's folder for sockets and logs cannot be written or has too long a name."""
    named = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), None)  # in Ray's order
    folder = Path(os.environ[named] if named else "/tmp").absolute()
    problem = f"${named} {folder}" if named else str(folder)
    socket_file = f"{folder}/ray/session_2000-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
    if (excess := len(os.fsencode(socket_file)) - SOCKET_BYTES) > 0:
        raise UsageError(f"{problem}: {excess} bytes too long for Ray's sockets; name a shorter folder in RAY_TMPDIR")
    existing = next(each for each in (folder, *folder.parents) if os.path.exists(each))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{problem}: cannot be written to; name another folder in RAY_TMPDIR")


def _stop(*_: Any) -> None:
    """Stop as after Ctrl-C, once. In a script's background job that signal is ignored until Tune's loop handles it."""
    signal.signal(signal.SIGTERM, _stop_again)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGINT)


def stop_driver() -> None:
    """Stop this process as after Ctrl-C; any thread may call it."""
    os.kill(os.getpid(), signal.SIGTERM)


def _stop_again(*_: Any) -> None:
    """What the first signal has set going is not disturbed."""


def _stop_without(terminals: Iterable[int], *_: Any) -> None:
    """The same where the terminal was closed: what is still said goes nowhere, because writing to one that is gone
    fails, and the record would not be finished."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for terminal in terminals:
        os.dup2(nowhere, terminal)
    _stop()


def _has_token() -> bool:
    return (
        "RAY_AUTH_TOKEN" in os.environ
        or Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")).is_file()
    )


def check_gpu() -> None:
    """Raises `UsageError` where torch cannot use this machine's GPU. Another process tries it: this one would keep some
    of the GPU's memory."""
    try_it = "from trainable.device import prepare_torch; prepare_torch('cuda')"
    tried = subprocess.run([sys.executable, "-c", try_it], cwd=ROOT, capture_output=True, text=True, check=False)
    if tried.returncode:
        said = last_error(tried.stderr)
        raise UsageError(said.partition(": ")[2] or f"trying the GPU ended with code {tried.returncode}: {said}")


@contextmanager
def _copy_of_code() -> Iterator[str]:
    """A folder with a copy of the packages that this process runs, and nothing else.

    As the working folder of the workers it stands first in their search path, before what is installed and before the
    folder that the command was typed in; and it is small, whatever lies beside the packages.
    """
    with tempfile.TemporaryDirectory() as folder:
        for package in (analysis, sweeps, trainable):
            (source,) = package.__path__
            shutil.copytree(source, f"{folder}/{package.__name__}", ignore=shutil.ignore_patterns("__pycache__"))
        yield folder


def connect(address: str | None) -> list[Resources]:
    """Start a local Ray or join the cluster; returns what each node has.

    Raises `UsageError` where Ray does not start or the cluster cannot be joined.
    """
    import ray

    os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"  # a submitted job has a working folder already, maybe another one
    with _copy_of_code() as code:
        environment = {"env_vars": WORKER_ENVIRONMENT, "working_dir": code}
        arguments: dict[str, Any] = {"runtime_env": environment, "log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            here, problem = local_resources(), "a local Ray cannot start"
            own = {"num_cpus": int(here.cpus), "num_gpus": int(here.gpus), "include_dashboard": False}
            arguments |= {"address": "local", **own}
        else:
            problem = f"--address {address}: cannot join the cluster"
            arguments["address"] = address
        try:
            ray.init(**arguments)
        except Exception as error:  # also plain ones, where a node does not start in time
            raise UsageError(f"{problem}: {first_line(error)}") from error
    signal.signal(signal.SIGTERM, _stop)  # Ray has just made it kill the driver
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, partial(_stop_without, [fd for fd in (1, 2) if os.isatty(fd)]))
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Resources(node.get("CPU", 0), node.get("GPU", 0), node.get(GPU_MEMORY, 0)) for node in nodes]
