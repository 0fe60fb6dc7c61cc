"""Serves one page over HTTP, and nothing else: it is made when a browser asks for it."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from analysis.commandline.passwords import hide_passwords
from trainable.errors import UsageError, first_line

HOST = "127.0.0.1"
LOCAL_NAMES = ("localhost", HOST)
LEAST_PAUSE_S = 2.0
PAUSE_FACTOR = 4
"""After a page is made, it is not made anew for so many times as long as that took: the processor may have a sweep to
run."""


def serve(make: Callable[[], str], port: int) -> None:
    """Serve the HTML page that `make` returns to this machine, until Ctrl-C. Prints where. Raises `UsageError` where
    the port is taken."""
    page = _Page(make)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if urlsplit(f"//{self.headers['Host']}").hostname not in LOCAL_NAMES:
                # a web site that gives its own name this address would read the page in a visitor's browser
                self._answer(403, "the page is at localhost", "text/plain")
            elif self.path != "/":
                self._answer(404, "the page is at /", "text/plain")
            else:
                self._answer_page()

        def _answer_page(self) -> None:
            try:
                text = page.text()
            except Exception as error:  # the record may answer again later
                self._answer(503, hide_passwords(first_line(error)), "text/plain")
            else:
                self._answer(200, text, "text/html")

        def _answer(self, status: int, text: str, form: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{form}; charset=utf-8")
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
    with server:
        print(f"http://localhost:{server.server_address[1]}/ shows it; Ctrl-C ends this", flush=True)
        server.serve_forever()


class _Page:
    """The page, made anew where it is asked for and old enough."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._text, self._good_until = "", 0.0

    def text(self) -> str:
        with self._lock:
            began = time.monotonic()
            if began > self._good_until:
                self._text = self._make()
                ended = time.monotonic()
                self._good_until = ended + max(LEAST_PAUSE_S, PAUSE_FACTOR * (ended - began))
            return self._text
