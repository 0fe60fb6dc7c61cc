"""The heartbeat of a sweep, which tells others that its driver lives: see `analysis.record.heartbeats`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlflow import MlflowClient

from analysis.record.heartbeats import HEARTBEAT

BEAT_S = 15.0
"""Seconds between two beats."""


@contextmanager
def beating(client: MlflowClient, run_id: str) -> Iterator[None]:
    """Raise a sweep's heartbeat while this process lives and the context lasts."""
    stopped = threading.Event()

    def beat() -> None:
        count = 0
        while not stopped.wait(BEAT_S if count else 0):
            with suppress(Exception):  # where the record does not answer, the recorder says so
                client.set_tag(run_id, HEARTBEAT, str(count := count + 1))

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(BEAT_S)
