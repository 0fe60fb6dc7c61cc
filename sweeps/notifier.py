"""Tells somebody of a sweep: one JSON line goes to a URL at a new best, at a failure and at the end."""

import math
import queue
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

import requests
from pydantic import BaseModel, SecretStr
from rich.console import Console

from analysis.commandline.passwords import hide_passwords
from analysis.record.recorded import RunStatus
from sweeps.fault import Fault
from sweeps.observer import Observer
from sweeps.planning.options import Options
from trainable.errors import UsageError
from trainable.trial import Epoch, TrialEnd, TrialReport, TrialSpec

POST_S = 5.0
"""Seconds until a message counts as not delivered."""
PATIENCE_S = 10.0
"""Seconds that the end of a sweep waits for the messages that are still to be sent."""
LONGEST = 300
"""Characters of an error that a message has."""


class Message(BaseModel):
    """What is posted, as one line of JSON."""

    sweep: str
    event: Literal["best", "failure", "end"]
    experiment: str
    record: str
    """The tracking URI, without a password."""
    figures: dict[str, int | float | str]
    """Of `best`: the trial and its held-out error after the last epoch. Of `failure`: the trial and the error. Of
    `end`: the sweep's status, how many trials ended how, and the best errors."""


def check_url(text: str) -> SecretStr:
    """The URL of an option. Raises `UsageError` where nothing can be posted to it. The URL itself is never shown,
    because a part of it may be a secret."""
    problem = "--notify: must be http://HOST/... or https://HOST/... (what was given is not shown: it may hold a token)"
    try:
        url = urlsplit(text)
        valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and text.isprintable()
    except ValueError as error:  # a port that is no number, a bracket too few
        raise UsageError(problem) from error
    if not valid or " " in text:
        raise UsageError(problem)
    return SecretStr(text)


class Notifier(Observer):
    """Posts what happens in a sweep, in a thread of its own: no trial waits, and a dead URL stops nothing. Without a
    URL it does nothing."""

    def __init__(self, url: SecretStr | None, *, sweep: str, experiment: str, record: str) -> None:
        self.status = RunStatus.FAILED
        """How the sweep ended, as MLflow says it; it failed where nobody has said otherwise."""
        self._url, self._sweep = url, sweep
        self._experiment, self._record = experiment, hide_passwords(record)
        self._running: dict[str, tuple[TrialSpec, Epoch | None]] = {}
        self._best: dict[str, float] = {}
        self._ended: Counter[str] = Counter()
        self._queue: queue.Queue[Message | None] = queue.Queue()
        self._posted = self._delivered = 0
        self._problem = "no answer yet"
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
        if url is not None:
            self._thread.start()

    def trial_started(self, trial_id: str, spec: TrialSpec) -> None:
        """See `Observer`."""
        self._running[trial_id] = spec, None

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        """See `Observer`."""
        self._running[trial_id] = self._running[trial_id][0], report.last

    def trial_ended(self, trial_id: str, end: TrialEnd, fault: Fault) -> None:
        """See `Observer`."""
        spec, last = self._running.pop(trial_id, (None, None))
        if spec is None:
            return
        self._ended[end] += 1
        if end == TrialEnd.FAILED:
            self._post("failure", {"trial": spec.name, "error": fault.reason[:LONGEST]})
        elif end == TrialEnd.COMPLETE and last:
            metric = spec.config.held_out
            value = last.mean(metric)
            if value < self._best.get(metric, math.inf):
                self._best[metric] = value
                self._post("best", {"trial": spec.name, metric: value})

    def close(self) -> str:
        """Post the end of the sweep, with its `status`, and wait a little for what is not sent. Returns a line about
        what was not delivered; empty where all was."""
        if self._url is None:
            return ""
        best = {f"best_{metric}": value for metric, value in self._best.items()}
        self._post("end", {"status": self.status, **self._ended, **best})
        self._queue.put(None)
        self._thread.join(PATIENCE_S)
        if self._posted == self._delivered:
            return ""
        url = urlsplit(self._url.get_secret_value())
        return (
            f"--notify {url.scheme}://{url.hostname}: {self._posted - self._delivered} of {self._posted} messages were "
            f"not delivered: {self._problem}"
        )

    def _post(self, event: Literal["best", "failure", "end"], figures: dict[str, int | float | str]) -> None:
        if self._url is not None:
            self._posted += 1
            self._queue.put(
                Message(
                    sweep=self._sweep, event=event, experiment=self._experiment, record=self._record, figures=figures
                )
            )

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            assert self._url is not None
            try:
                answer = requests.post(
                    self._url.get_secret_value(),
                    data=f"{message.model_dump_json()}\n".encode(),
                    headers={"Content-Type": "application/json"},
                    timeout=POST_S,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                self._problem = type(error).__name__  # its text has the URL
                continue
            if 200 <= answer.status_code < 300:
                self._delivered += 1
            else:
                self._problem = f"status {answer.status_code}"


@contextmanager
def notifying(options: Options, name: str, console: Console) -> Iterator[Notifier]:
    """What tells of the sweep of that name where `--notify` asks for it. It tells the end whatever ends the sweep, and
    what could not be told is said."""
    notifier = Notifier(options.notify, sweep=name, experiment=options.experiment, record=options.tracking_uri)
    try:
        yield notifier
    finally:
        if not_told := notifier.close():
            console.print(not_told, style="yellow", soft_wrap=True)
