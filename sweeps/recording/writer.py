"""A thread that writes to the record, so that nobody waits for MLflow. What it cannot deliver it tries again until the
server is back."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from analysis.commandline.passwords import hide_passwords, traceback_of
from sweeps.recording.outage import RETRY_S, is_outage
from trainable.errors import first_line
from trainable.storage import DamagedFileError, StorageError

POLL_S = 0.05

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """Whether a writer's writes arrive."""

    failing_since: float | None = None
    """`time.monotonic()` of the first of the failures in a row, or None while the server answers."""
    refused: int = 0
    """Writes that no repetition would deliver."""
    refusal: str = ""
    """What the last refused write said, in one line."""
    outage: str = ""
    """What the last write said that is tried again. Empty once the server answers."""

    @property
    def problem(self) -> str:
        """Why writes do not arrive, in one line; empty where all do."""
        return self.outage or self.refusal


class Writer:
    """Makes writes in the order in which they are put."""

    def __init__(self) -> None:
        self.delivery = Delivery()
        self._queue: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def put(self, write: Callable[[], object]) -> None:
        """Have a write made. It must write the same when it is repeated."""
        self._queue.put(write)

    def mark(self) -> Callable[[], bool]:
        """A function that tells whether everything put so far is written."""
        written = threading.Event()
        self.put(written.set)
        return written.is_set

    def close(self) -> None:
        """Have the thread end once all is written."""
        self._queue.put(None)

    @property
    def closed(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (write := self._queue.get()) is not None:
            while not self._delivered(write):
                time.sleep(RETRY_S)

    def _delivered(self, write: Callable[[], object]) -> bool:
        """Whether the write is settled: done, or refused for good; False where it is worth another try."""
        now = self.delivery
        try:
            write()
        except DamagedFileError as error:
            logger.error("a trial is not complete, and will be trained again: %s", error)
            now = replace(now, refused=now.refused + 1, refusal=str(error))
        except Exception as error:
            problem = first_line(error)
            if is_outage(error):
                if now.failing_since is None:
                    place = "storage" if isinstance(error, StorageError) else "record"
                    logger.warning("the %s does not answer, trying again: %s", place, hide_passwords(problem))
                since = now.failing_since or time.monotonic()
                self.delivery = replace(now, failing_since=since, outage=problem)
                return False
            if isinstance(error, StorageError):
                logger.error("not recorded, and left to the next sweep: %s", error)
            else:
                logger.error("the record refused a write\n%s", traceback_of(error))
            now = replace(now, refused=now.refused + 1, refusal=problem)
        self.delivery = replace(now, failing_since=None, outage="")
        return True


def wait(until: Callable[[], bool], deliveries: Callable[[], Sequence[Delivery]], patience_s: float) -> bool:
    """Wait for something; False once one of the writers has been failing for `patience_s` seconds."""
    while not until():
        time.sleep(POLL_S)
        since = min((each.failing_since for each in deliveries() if each.failing_since is not None), default=None)
        if since is not None and time.monotonic() - since > patience_s:
            return False
    return True
