"""The Ray that runs the trials: a local one, or a cluster that is already up."""

import os
import signal
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sweeps.errors import UsageError
from sweeps.planning.resources import GPU_MEMORY, Resources, local_resources

ROOT = Path(__file__).resolve().parents[2]
REACH_S = 5.0
KEPT_BYTES = str(1 << 30)
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # glibc keeps freed memory for the next step instead of fetching fresh pages, which the kernel fills with zeros
    "MALLOC_MMAP_THRESHOLD_": KEPT_BYTES,
    "MALLOC_TRIM_THRESHOLD_": KEPT_BYTES,
}


def check_address(address: str) -> None:
    """Check that a cluster can be joined, and choose how to authenticate there. Ray must not be imported before.

    Raises `UsageError` where nothing answers at an explicit address within a few seconds.
    """
    if _has_token():  # Ray sends it of itself only to a cluster that it has just started
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    if address in ("auto", "local"):
        return
    parts = urlsplit(address if "://" in address else f"ray-gcs://{address}")
    try:
        if parts.hostname is None or parts.port is None:
            raise ValueError("expected auto, HOST:PORT or ray://HOST:PORT")
        socket.create_connection((parts.hostname, parts.port), timeout=REACH_S).close()
    except (OSError, ValueError) as error:
        raise UsageError(f"--address {address}: no Ray cluster there: {error}") from error


def _stop(*_: Any) -> None:
    """Stop as after Ctrl-C. In a script's background job that signal is ignored until Tune's loop handles it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGINT)


def _has_token() -> bool:
    return (
        "RAY_AUTH_TOKEN" in os.environ
        or Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token").is_file()
    )


def connect(address: str | None) -> list[Resources]:
    """Start a local Ray or join the cluster; returns what each node has.

    Raises `UsageError` where the cluster cannot be joined.
    """
    import ray

    environment: dict[str, Any] = {"env_vars": WORKER_ENVIRONMENT}
    if address and "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        environment["working_dir"] = str(ROOT)
    common: dict[str, Any] = {"runtime_env": environment, "log_to_driver": False, "logging_level": "ERROR"}
    if address is None or address == "local":
        here = local_resources()
        ray.init(
            address="local",
            num_cpus=int(here.cpus),
            num_gpus=int(here.gpus),
            include_dashboard=False,
            **common,
        )
    else:
        try:
            ray.init(address=address, **common)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(f"--address {address}: cannot join the cluster: {str(error).splitlines()[0]}") from error
    signal.signal(signal.SIGTERM, _stop)  # Ray has just made it kill the driver
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, _stop)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Resources(node.get("CPU", 0), node.get("GPU", 0), node.get(GPU_MEMORY, 0)) for node in nodes]
