"""Reaches and checks the tracking server or store, and makes its experiment."""

import os
import platform
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.exc import SQLAlchemyError

from analysis.record import SQLITE, Record
from sweeps.errors import UsageError

DRIVER = "driver"
"""Tag of every run: the machine and the process that wrote it."""
REACH_S = 5.0


def open_record(tracking_uri: str, experiment: str) -> Record | None:
    """Open the record to read it; None where an embedded one does not exist yet. Writes nothing.

    Raises `UsageError` where the server cannot be reached or the URI is of no kind that MLflow takes.
    """
    scheme = urlsplit(tracking_uri).scheme
    if tracking_uri.startswith(SQLITE):
        database = Path(tracking_uri.removeprefix(SQLITE))
        if not database.exists():
            existing = next(parent for parent in database.absolute().parents if parent.exists())
            if not existing.is_dir() or not os.access(existing, os.W_OK):
                raise UsageError(f"--tracking-uri {tracking_uri}: {existing} is not a folder that can be written to")
            return None
        if not database.is_file() or not _is_sqlite(database):
            raise UsageError(f"--tracking-uri {tracking_uri}: {database} is not an SQLite database")
    elif scheme in ("http", "https"):
        _reach(tracking_uri)
    elif scheme in ("", "file"):
        raise UsageError(
            f"--tracking-uri {tracking_uri}: MLflow keeps no record in a plain folder; use {SQLITE}FILE.db"
        )
    try:
        record = Record(tracking_uri, experiment)
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        raise UsageError(f"--tracking-uri {tracking_uri}: {str(error).splitlines()[0]}") from error
    if record.deleted:
        raise UsageError(f"--experiment {experiment}: it is deleted in {tracking_uri}; restore it or name another")
    return record


def ensure_experiment(tracking_uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Return a client and the experiment's id, and make what is missing: the database, its artifact folder, the
    experiment."""
    location = None
    if tracking_uri.startswith(SQLITE):
        database = Path(tracking_uri.removeprefix(SQLITE)).absolute()
        database.parent.mkdir(parents=True, exist_ok=True)
        if not database.exists():
            _write_ahead(database)
        location = (database.parent / "mlartifacts" / experiment).as_uri()
    client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
    existing = client.get_experiment_by_name(experiment)
    if existing:
        return client, existing.experiment_id
    tags = {"mlflow.experimentKind": "custom_model_development"}  # training runs, not traces
    return client, client.create_experiment(experiment, location, tags=tags)


def _is_sqlite(database: Path) -> bool:
    """Whether a file is an SQLite database, or empty. SQLite itself reads it: a process that opens and closes the file
    otherwise drops the locks that SQLite holds on it there (sqlite.org/howtocorrupt.html, section 2.2)."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:  # it cannot be opened now, which says nothing of its form
        return True
    except sqlite3.DatabaseError:
        return False
    return True


def _write_ahead(database: Path) -> None:
    """Turn on SQLite's write-ahead log for good: commits take half the time, and the UI can read while a sweep
    writes."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def this_driver() -> str:
    """The value of the `DRIVER` tag: this process."""
    return f"{platform.node()}:{os.getpid()}"


def end_abandoned(record: Record) -> None:
    """End the runs that a killed driver of this machine left as running, so that the UI does not show them so."""
    for run in record.running():
        host, _, pid = run.data.tags.get(DRIVER, "").rpartition(":")
        if host == platform.node() and not Path(f"/proc/{pid}").exists():
            record.client.set_terminated(run.info.run_id, "KILLED")


def _reach(tracking_uri: str) -> None:
    """Raises `UsageError` where no server answers, asked with the credentials and TLS settings of MLflow's client."""
    try:
        client = get_default_host_creds(tracking_uri)
        answer = http_request(client, "/health", "GET", max_retries=0, raise_on_status=False, timeout=REACH_S)
    except (MlflowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"--tracking-uri {tracking_uri}: the server cannot be reached: {reason}") from error
    if answer.status_code >= 500:
        raise UsageError(f"--tracking-uri {tracking_uri}: the server answers with status {answer.status_code}")
