"""Passwords stay unseen, and the tracking server is asked with the TLS settings and credentials of MLflow's client."""

import datetime
import io
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rich.console import Console

from analysis.commandline.commands import run_command
from analysis.commandline.passwords import hide_passwords
from analysis.record.opening import open_record
from sweeps.fault import read_fault
from sweeps.recording.datasets import dataset_inputs
from sweeps.running.results import print_results
from tests.conftest import Command
from tests.options import options
from trainable.config import Config
from trainable.errors import UsageError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("in postgresql://user:secret@host/db.", "in postgresql://user:***@host/db."),
        ("https://user:se:c/r@et@host:5000/#/", "https://user:***@host:5000/#/"),
        ("'s3://key:secret@bucket/x?region=y'", "'s3://key:***@bucket/x?region=y'"),
        ("mysql://h/db?ssl=1&password=secret&x=2", "mysql://h/db?ssl=1&password=***&x=2"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("s3://bucket/name@version: and user:other@x", "s3://bucket/name@version: and user:other@x"),
    ],
)
def test_a_password_is_shown_as_asterisks(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tracking-uri", "http://user:secret@127.0.0.1:9"],
        ["--tracking-uri", "postgresql://user:secret@127.0.0.1:9/record"],
        ["--tracking-uri", "ftp://user:secret@127.0.0.1"],  # the message is MLflow's own
        ["--data", "cifar10", "--data-dir", "nothing://key:secret@bucket"],
    ],
)
def test_an_error_shows_no_password(arguments: list[str], here: Command) -> None:
    error = here("--data", "digits", "--dry-run", *arguments).stderr
    assert ":***@" in error
    assert "secret" not in error


def test_the_traceback_of_an_unforeseen_error_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise RuntimeError("no answer from postgresql://user:hunter2@host/record")

    monkeypatch.setattr(sys, "argv", ["fail"])
    with pytest.raises(SystemExit) as end:
        run_command(app)
    error = capsys.readouterr().err
    assert end.value.code == 1
    assert error.startswith("Traceback") and "RuntimeError: no answer from postgresql://user:***@host/record" in error
    assert "hunter2" not in error


def test_why_a_trial_failed_shows_no_password(tmp_path: Path) -> None:
    errors = tmp_path / "error.txt"
    errors.write_text("Traceback\nOSError: s3://key:hunter2@bucket is gone\n")
    fault = read_fault(str(errors))
    assert fault.reason == "OSError: s3://key:***@bucket is gone"
    assert "hunter2" not in fault.text


def test_the_source_of_data_is_recorded_without_its_password() -> None:
    inputs = dataset_inputs(Config(), "0" * 16, "s3://key:secret@bucket/cifar10")
    assert {json.loads(each.dataset.source)["uri"] for each in inputs} == {"s3://key:***@bucket/cifar10"}


@dataclass
class Server:
    """A tracking server with an empty record."""

    port: int
    certificate: Path
    asked_by: list[str | None] = field(default_factory=list)
    """The `Authorization` of each request for its health."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Behind TLS, with a certificate that nobody has signed."""
    certificate = tmp_path_factory.mktemp("tls") / "localhost.pem"
    certificate.write_bytes(self_signed())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            healthy = self.path == "/health"
            if healthy:
                running.asked_by.append(self.headers["Authorization"])
            answer = b"OK" if healthy else b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": ""}'
            self.send_response(200 if healthy else 404)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    running = Server(http.server_address[1], certificate)
    yield running
    http.shutdown()


def self_signed() -> bytes:
    """A key and its certificate for localhost."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + builder.sign(key, hashes.SHA256()).public_bytes(pem)


def test_tls_and_credentials_hold_for_the_first_question_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"https://localhost:{server.port}"
    with pytest.raises(UsageError, match=r"the server cannot be reached: .*CERTIFICATE_VERIFY_FAILED"):
        open_record(uri, "e")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(server.certificate))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-token")
    record = open_record(uri, "e")
    assert record and record.trials() == []
    assert server.asked_by[-1] == "Bearer a-token"
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    assert open_record(uri, "e")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "maybe")
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_INSECURE_TLS"):
        open_record(uri, "e")


def test_the_end_of_a_sweep_shows_no_password(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(server.certificate))
    uri = f"https://user:secret@localhost:{server.port}"
    screen = io.StringIO()
    print_results(options(tracking_uri=uri), (), None, Console(file=screen, width=200))
    assert f"https://user:***@localhost:{server.port}" in screen.getvalue()
    assert "secret" not in screen.getvalue()
