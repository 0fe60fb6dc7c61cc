"""A process that writes the runs of trials, and how the driver talks to it.

It ends at once when the driver is gone: what it had not written the next sweep records, and nothing twice.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from mlflow import MlflowClient

from sweeps.observer import Observer, TrialEvent
from sweeps.recording.trial_runs import SweepRun, TrialRuns
from sweeps.recording.writer import POLL_S, Delivery, Writer

ROOT = Path(__file__).resolve().parents[2]
SLOTS_A_PROCESS = 16
"""Slots whose trials one process records. A trial of 20 epochs takes it a tenth of a second (docs/scaling.md), so that
slots of 10-second trials keep a sixth of a core busy."""

logger = logging.getLogger(__name__)


def processes_for(slots: int, cores: int) -> int:
    """How many processes record the trials of so many slots on a machine with so many cores, of which one is the
    driver's. 0 where the driver does it beside its other work."""
    return min(slots // SLOTS_A_PROCESS, max(1, cores - 1))


class _Request(StrEnum):
    """What the driver asks the process for, besides to write events of trials."""

    MARK = "mark"
    """To say when all is written that came before."""
    FINISH = "finish"
    """As `TrialRuns.finish`."""


@dataclass(frozen=True)
class _State:
    """What the process answers."""

    marks: int = 0
    """Marks before which all is written."""
    delivery: Delivery = field(default_factory=Delivery)

    def news_since(self, told: "_State") -> bool:
        """Whether the driver must hear of it. The text of a failure may differ at each try, and the driver may not read
        for hours."""
        now, then = ((each.marks, each.delivery.refused, each.delivery.failing_since is None) for each in (self, told))
        return now != then


class RecorderProcess(Observer):
    """The driver's end: has the runs of trials written by a process of its own. The methods return at once."""

    def __init__(self, sweep: SweepRun) -> None:
        self._connection, theirs = Pipe()
        code = (  # before the imports, which take seconds: the driver gets these signals, too, and says when to end
            "from signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, signal; "
            "[signal(each, SIG_IGN) for each in (SIGINT, SIGTERM, SIGHUP)]; "
            f"from {__name__} import serve; serve({theirs.fileno()})"
        )
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],  # -P: no code from the working folder
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._marks, self._state, self._said = 0, _State(), False
        self._sender = Writer()  # the pipe may be full while the process starts
        self._send(sweep)

    def tell(self, event: TrialEvent) -> None:
        """See `Observer`."""
        self._send(event)

    def finish(self) -> None:
        """As that of `TrialRuns`; the process ends once all is written."""
        self._send(_Request.FINISH)
        self._sender.close()

    def mark(self) -> Callable[[], bool]:
        """As that of `Writer`."""
        self._marks += 1
        self._send(_Request.MARK)
        number = self._marks
        return lambda: self._read().marks >= number

    @property
    def closed(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def died(self) -> bool:
        """Whether the process has ended too early."""
        return bool(self._process.poll())

    @property
    def delivery(self) -> Delivery:
        """Whether the process's writes arrive. One that died counts as one refused write."""
        delivery = self._read().delivery
        if self.died:
            problem = f"a process of the recorder ended with code {self._process.returncode}"
            return replace(delivery, failing_since=None, refused=delivery.refused + 1, outage="", refusal=problem)
        return delivery

    def _send(self, message: SweepRun | TrialEvent | _Request) -> None:
        def send() -> None:
            try:
                self._connection.send(message)
            except OSError:  # it has died
                if not self._said:
                    logger.error("a process of the recorder has died; the next sweep records its trials")
                self._said = True

        self._sender.put(send)

    def _read(self) -> _State:
        with suppress(EOFError, OSError):  # it has ended
            while self._connection.poll():
                self._state = self._connection.recv()
        return self._state


def serve(descriptor: int) -> None:
    """The process: write what comes from the driver at the other end of this file descriptor, until that is all."""
    try:
        _serve(Connection(descriptor))
    except (EOFError, OSError):
        os._exit(1)  # the driver is gone. At once: the next sweep may record these trials already


def _serve(connection: Connection) -> None:
    """Write what the driver asks for until it says that this is all."""
    sweep: SweepRun = connection.recv()
    writer = Writer()
    trials = TrialRuns(MlflowClient(sweep.tracking_uri, registry_uri=sweep.tracking_uri), sweep, writer)
    marks: list[Callable[[], bool]] = []
    told = _State()
    while not writer.closed:
        if connection.poll(POLL_S):
            message: TrialEvent | _Request = connection.recv()
            match message:
                case _Request.MARK:
                    marks.append(writer.mark())
                case _Request.FINISH:
                    trials.finish()
                    writer.close()
                case event:
                    trials.tell(event)
        state = _State(sum(written() for written in marks), writer.delivery)
        if state.news_since(told):
            connection.send(state)
            told = state
    connection.send(_State(len(marks), writer.delivery))
