"""The heartbeat of a sweep, which tells others that its driver lives: see `analysis.record.heartbeats`.

A sweep that could not be heard for too long, as on a machine that slept, is told when its heart beats again.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mlflow import MlflowClient

from analysis.record.heartbeats import HEARTBEAT
from sweeps.recording.drivers import TAKEN_OVER

BEAT_S = 15.0
"""Seconds between two beats."""


@contextmanager
def beating(client: MlflowClient, run_id: str, taken_over: Callable[[], object]) -> Iterator[None]:
    """Raise a sweep's heartbeat while this process lives and the context lasts. Where another sweep has taken this one
    for dead, `taken_over` is called once, in another thread, and the heart stops."""
    stopped = threading.Event()

    def beat() -> None:
        count = 0
        while not stopped.wait(BEAT_S if count else 0):
            is_taken = False
            with suppress(Exception):  # where the record does not answer, the recorder says so
                client.set_tag(run_id, HEARTBEAT, str(count := count + 1))
                is_taken = TAKEN_OVER in client.get_run(run_id).data.tags
            if is_taken:
                taken_over()
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(BEAT_S)
