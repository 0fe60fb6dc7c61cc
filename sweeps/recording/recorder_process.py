"""A process that writes the runs of trials, and how the driver talks to it.

It ends at once when the driver is gone: what it had not written the next sweep records, and nothing twice.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from mlflow import MlflowClient

from sweeps.observer import Observer
from sweeps.recording.trial_runs import SweepRun, TrialRuns
from sweeps.recording.writer import POLL_S, Delivery, Writer
from trainable.trial import TrialEnd, TrialReport, TrialSpec

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class _Call:
    """What the driver asks the process for: a method of `TrialRuns` with its arguments, or a mark."""

    method: Literal["trial_started", "trial_reported", "trial_ended", "finish", "mark"]
    arguments: tuple = ()


@dataclass(frozen=True)
class _State:
    """What the process answers."""

    marks: int = 0
    """Marks before which all is written."""
    delivery: Delivery = field(default_factory=Delivery)


class RecorderProcess(Observer):
    """The driver's end: has the runs of trials written by a process of its own. The methods return at once."""

    def __init__(self, sweep: SweepRun) -> None:
        self._connection, theirs = Pipe()
        # -P: no code from the working folder
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import main; main({theirs.fileno()})"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._marks, self._state = 0, _State()
        self._sender = Writer()  # the pipe may be full while the process starts
        self._send(sweep)

    def trial_started(self, trial_id: str, spec: TrialSpec) -> None:
        """See `Observer`."""
        self._send(_Call("trial_started", (trial_id, spec)))

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        """See `Observer`."""
        self._send(_Call("trial_reported", (trial_id, report)))

    def trial_ended(self, trial_id: str, end: TrialEnd, error: str) -> None:
        """See `Observer`."""
        self._send(_Call("trial_ended", (trial_id, end, error)))

    def finish(self) -> None:
        """As that of `TrialRuns`; the process ends once all is written."""
        self._send(_Call("finish"))

    def mark(self) -> Callable[[], bool]:
        """As that of `Writer`."""
        self._marks += 1
        self._send(_Call("mark"))
        number = self._marks
        return lambda: self._read().marks >= number or self.closed

    @property
    def closed(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def delivery(self) -> Delivery:
        """How far the process has come. One that died has refused what it was to write."""
        delivery = self._read().delivery
        if self._process.poll():
            problem = f"a process of the recorder ended with code {self._process.returncode}"
            return replace(delivery, failing_since=None, refused=delivery.refused + 1, problem=problem)
        return delivery

    def _send(self, message: SweepRun | _Call) -> None:
        def send() -> None:
            with suppress(OSError):  # it has died: see `delivery`
                self._connection.send(message)

        self._sender.put(send)

    def _read(self) -> _State:
        with suppress(EOFError, OSError):  # it has ended
            while self._connection.poll():
                self._state = self._connection.recv()
        return self._state


def _serve(connection: Connection) -> None:
    """Write what the driver asks for until it says that this is all."""
    sweep: SweepRun = connection.recv()
    writer = Writer()
    trials = TrialRuns(MlflowClient(sweep.tracking_uri, registry_uri=sweep.tracking_uri), sweep, writer)
    marks: list[Callable[[], bool]] = []
    told = _State()
    while not writer.closed:
        if connection.poll(POLL_S):
            call: _Call = connection.recv()
            if call.method == "mark":
                marks.append(writer.mark())
            else:
                getattr(trials, call.method)(*call.arguments)
            if call.method == "finish":
                writer.close()
        state = _State(sum(written() for written in marks), writer.delivery)
        if state != told:
            connection.send(state)
            told = state
    connection.send(_State(len(marks), writer.delivery))


def main(descriptor: int) -> None:
    """The process: serve the connection that this file descriptor is an end of."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the driver gets them, too, and says when to end
        signal.signal(number, signal.SIG_IGN)
    try:
        _serve(Connection(descriptor))
    except (EOFError, OSError):
        os._exit(1)  # at once: the next sweep may record these trials already
