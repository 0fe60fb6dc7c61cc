"""Serves one page over HTTP, and nothing else: it is made when a browser asks for it."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from analysis.commandline.passwords import hide_passwords, traceback_of
from trainable.errors import UsageError, first_line

HOST = "127.0.0.1"
LEAST_PAUSE_S = 2.0
PAUSE_FACTOR = 4
"""After making a page took t seconds, the same page is served for another 4t seconds: beside a sweep it takes at most a
fifth of a core."""


@dataclass(frozen=True)
class _Answer:
    status: int
    text: str
    form: str = "text/plain"


WRONG_HOST, WRONG_PATH = _Answer(403, "the page is at localhost"), _Answer(404, "the page is at /")


def page_server(make: Callable[[], str], port: int) -> ThreadingHTTPServer:
    """A server, to this machine alone, of the HTML page that `make` returns. Raises `UsageError` where the port is
    taken."""
    page = _Page(make)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = (self.headers["Host"] or "").partition(":")[0]
            # else a foreign site whose name leads to 127.0.0.1 could read the page in a visitor's browser
            if host not in ("localhost", HOST):
                return self._send(WRONG_HOST)
            return self._send(page.answer() if self.path == "/" else WRONG_PATH)

        def _send(self, answer: _Answer) -> None:
            body = answer.text.encode()
            with suppress(ConnectionError):  # the browser waits no longer
                self.send_response(answer.status)
                self.send_header("Content-Type", f"{answer.form}; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    try:
        server = ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}") from error
    server.daemon_threads = True
    return server


class _Page:
    """The page, made anew where it is asked for and old enough."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._answer, self._good_until = _Answer(503, ""), 0.0

    def answer(self) -> _Answer:
        with self._lock:
            began = time.monotonic()
            if began > self._good_until:
                self._answer = self._new_answer()
                ended = time.monotonic()
                self._good_until = ended + max(LEAST_PAUSE_S, PAUSE_FACTOR * (ended - began))
            return self._answer

    def _new_answer(self) -> _Answer:
        try:
            return _Answer(200, self._make(), "text/html")
        except Exception as error:  # the record may answer again later
            print(traceback_of(error), end="", file=sys.stderr)
            return _Answer(503, hide_passwords(first_line(error)))
