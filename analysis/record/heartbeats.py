"""Whether the driver of a sweep lives, for those that cannot look at its process: it raises a count in the record."""

import time

HEARTBEAT = "heartbeat"
"""Tag of a sweep: a count that its driver raises every few seconds."""
SILENT_S = 150.0
"""A sweep is over when its heartbeat has not changed for so long, whatever its status. A living one may be silent while
each try of a request waits for its time limit: see `analysis.commandline.environment`."""


class Heartbeats:
    """What an observer has seen of the heartbeats of sweeps."""

    def __init__(self) -> None:
        self._beats: dict[str, tuple[str | None, float]] = {}
        """The last heartbeat of each sweep, and when it was first seen here."""

    def silent(self, sweep: str, beat: str | None) -> bool:
        """Whether the heartbeat of the sweep with that run id has not changed for `SILENT_S` by the clock here, since
        it was first asked for. One that has never beaten counts from then, too."""
        now = time.monotonic()
        seen = self._beats.get(sweep)
        if seen is None or seen[0] != beat:
            self._beats[sweep] = beat, now
            return False
        return now - seen[1] > SILENT_S
