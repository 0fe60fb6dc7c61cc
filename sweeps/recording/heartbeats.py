"""Whether the driver of a sweep lives, for those that cannot look at its process: it raises a count in the record."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlflow import MlflowClient
from mlflow.entities import Run

HEARTBEAT = "heartbeat"
"""Tag of a sweep: a count that its driver raises every `BEAT_S` seconds."""
BEAT_S = 15.0
SILENT_S = 150.0
"""A sweep is over when its heartbeat has not changed for so long, whatever its status. A living one may be silent while
each try of a request waits for its time limit: see `analysis.commandline.environment`."""


class Heartbeats:
    """What an observer has seen of the heartbeats of other sweeps."""

    def __init__(self) -> None:
        self._beats: dict[str, tuple[str | None, float]] = {}
        """The last heartbeat of each sweep, and when it was first seen here."""

    def silent(self, run: Run) -> bool:
        """Whether a sweep's heartbeat has not changed for `SILENT_S` by the clock here, since it was first asked for.
        One that has never beaten counts from then, too."""
        beat, now = run.data.tags.get(HEARTBEAT), time.monotonic()
        seen = self._beats.get(run.info.run_id)
        if seen is None or seen[0] != beat:
            self._beats[run.info.run_id] = beat, now
            return False
        return now - seen[1] > SILENT_S


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
