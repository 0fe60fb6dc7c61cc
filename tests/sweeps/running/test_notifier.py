"""A sweep tells somebody: one JSON line at a new best, at a failure and at the end. A dead URL hurts nothing."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from analysis.record.recorded import RunStatus
from sweeps import notifier
from sweeps.fault import NO_FAULT, Fault
from sweeps.notifier import Notifier, check_url, notifying
from tests.options import options
from tests.specs import trial_spec
from trainable.config import Config
from trainable.errors import UsageError
from trainable.trial import Epoch, TrialEnd, TrialReport

TOKEN = "T0KEN"


@dataclass
class Listener:
    """A server that keeps what it gets."""

    url: str = ""
    status: int = 200
    seconds: float = 0.0
    """How long it takes to answer."""
    lines: list[dict] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    kept = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            assert body.count("\n") == 1 and body.endswith("\n"), "one line"
            kept.lines.append(json.loads(body))
            time.sleep(kept.seconds)
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    kept.url = f"http://user:{TOKEN}@127.0.0.1:{http.server_address[1]}/hooks/{TOKEN}"
    yield kept
    http.shutdown()


def notifier_to(url: str | None) -> Notifier:
    secret = SecretStr(url) if url else None
    return Notifier(secret, sweep="night", experiment="e", record="http://user:secret@host:5000")


def end_trial(
    told: Notifier, name: str, error: float, end: TrialEnd = TrialEnd.COMPLETE, why: Fault = NO_FAULT
) -> None:
    told.trial_started(name, trial_spec(Config(epochs=1), Path("nowhere"), name=name, seeds=(0, 1)))
    told.trial_reported(name, TrialReport(epochs=(Epoch(1, 1.0, {"test_error": [error, error]}),), done=True))
    told.trial_ended(name, end, why)


def test_it_tells_of_each_new_best_each_failure_and_the_end(listener: Listener) -> None:
    told = notifier_to(listener.url)
    for name, error in (("first", 0.5), ("worse", 0.6), ("better", 0.4), ("diverged", float("nan"))):
        end_trial(told, name, error)
    end_trial(told, "broken", 0.1, TrialEnd.FAILED, Fault("Traceback\nOSError: the bucket is gone"))
    end_trial(told, "stopped early", 0.01, TrialEnd.STOPPED)
    told.status = RunStatus.FINISHED
    assert told.close() == ""
    common = {"sweep": "night", "experiment": "e", "record": "http://user:***@host:5000"}
    assert listener.lines == [
        common | {"event": "best", "figures": {"trial": "first", "test_error": 0.5}},
        common | {"event": "best", "figures": {"trial": "better", "test_error": 0.4}},
        common | {"event": "failure", "figures": {"trial": "broken", "error": "OSError: the bucket is gone"}},
        common | {"event": "end", "figures": {"status": "FINISHED", "complete": 4, "failed": 1, "stopped": 1,
                                              "best_test_error": 0.4}},
    ]  # fmt: skip
    assert isinstance(listener.lines[-1]["figures"]["complete"], int)


def test_the_end_is_told_of_a_sweep_that_ends_before_its_first_trial(listener: Listener) -> None:
    asked = options(notify=listener.url)
    with pytest.raises(OSError, match="no record"), notifying(asked, "night", Console(quiet=True)):
        raise OSError("no record")
    (line,) = listener.lines
    assert (line["event"], line["figures"]) == ("end", {"status": "FAILED"})


def test_without_a_url_nothing_is_posted(listener: Listener) -> None:
    told = notifier_to(None)
    end_trial(told, "first", 0.5)
    assert told.close() == "" and listener.lines == []


def test_a_dead_url_is_one_line_at_the_end_without_its_token() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        told = notifier_to(f"http://user:{TOKEN}@127.0.0.1:{taken.getsockname()[1]}/hooks/{TOKEN}")
        started = time.monotonic()
        end_trial(told, "first", 0.5)
        assert time.monotonic() - started < 1, "no trial waits"
        line = told.close()
    assert line == "--notify http://127.0.0.1: 2 of 2 messages were not delivered: ConnectionError"


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_refusal_is_said_with_its_status(listener: Listener, status: int) -> None:
    listener.status = status
    told = notifier_to(listener.url)
    assert told.close().endswith(f": 1 of 1 messages were not delivered: status {status}")
    assert len(listener.lines) == 1


def test_a_url_that_never_answers_is_not_waited_for(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "PATIENCE_S", 0.3)
    listener.seconds = 3.0
    told, started = notifier_to(listener.url), time.monotonic()
    for index in range(5):
        end_trial(told, f"t{index}", 0.5 - index / 100)
    line = told.close()
    assert time.monotonic() - started < 2
    assert "6 of 6 messages were not delivered: no answer yet" in line and TOKEN not in line


@pytest.mark.parametrize(
    "url",
    [f"ftp://host/{TOKEN}", f"host/{TOKEN}", f"http:///{TOKEN}", f"http://host:{TOKEN}/", f"http://[{TOKEN}", TOKEN,
     f"http://host/{TOKEN} x", f"http://host/\n{TOKEN}"],
)  # fmt: skip
def test_a_bad_url_is_refused_before_anything_starts_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match=r"^--notify: must be http://HOST") as refused:
        options(notify=url)
    assert TOKEN not in str(refused.value)


def test_the_options_do_not_show_the_url() -> None:
    assert TOKEN not in repr(check_url(f"https://user:{TOKEN}@host/{TOKEN}?token={TOKEN}"))
