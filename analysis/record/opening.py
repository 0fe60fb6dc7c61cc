"""Opens a record: checks its URI first, so that what is wrong is one line at once."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from analysis.record.embedded import SCHEME, database_of, follow_move, is_made
from analysis.record.mlflow_record import Record
from trainable.errors import UsageError, first_cause, first_line

REACH_S = 5.0
"""Seconds that a server has to answer."""


def open_record(tracking_uri: str, experiment: str, *, dry: bool = False) -> Record | None:
    """Open the record to read it; None where an embedded one does not exist yet.

    An embedded record that was moved is told where its artifacts are now, unless it is a `dry` run, which writes
    nothing. Raises `UsageError` where the server cannot be reached or the URI is of no kind that MLflow takes.
    """
    try:
        database = database_of(tracking_uri)
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        scheme = urlsplit(tracking_uri).scheme
    except ValueError as error:
        raise UsageError(f"--tracking-uri {tracking_uri}: {error}") from error
    if database:
        if not _check_database(tracking_uri, database):
            return None
    elif scheme in ("http", "https"):
        _reach(tracking_uri)
    elif scheme in ("", "file"):
        raise UsageError(
            f"--tracking-uri {tracking_uri}: MLflow keeps no record in a plain folder; use {SCHEME}:///FILE.db"
        )
    try:
        if not database and scheme.partition("+")[0] in DATABASE_ENGINES:
            _connect(tracking_uri)
        record = Record(tracking_uri, experiment)
        if database:
            follow_move(database, experiment, write=not dry)
    except (MlflowException, SQLAlchemyError, sqlite3.Error, LookupError, OSError, ImportError) as error:
        raise UsageError(f"--tracking-uri {tracking_uri}: {first_line(error)}") from error
    if record.deleted:
        raise UsageError(f"--experiment {experiment}: it is deleted in {tracking_uri}; restore it or name another")
    return record


def _check_database(tracking_uri: str, database: Path) -> bool:
    """Whether an embedded record exists. Raises `UsageError` where it can neither be read nor be made."""
    try:
        if is_made(database):
            return True
    except sqlite3.DatabaseError as error:
        raise UsageError(f"--tracking-uri {tracking_uri}: {database} is not an SQLite database") from error
    existing = next(parent for parent in database.parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(f"--tracking-uri {tracking_uri}: {existing} is not a folder that can be written to")
    return False


def _connect(tracking_uri: str) -> None:
    """Raises SQLAlchemy's error at once where no database answers. MLflow would go on trying for two minutes."""
    create_engine(tracking_uri, poolclass=NullPool).connect().close()


def _reach(tracking_uri: str) -> None:
    """Raises `UsageError` where no server answers, asked with the credentials and TLS settings of MLflow's client."""
    try:
        client = get_default_host_creds(tracking_uri)
        answer = http_request(client, "/health", "GET", max_retries=0, raise_on_status=False, timeout=REACH_S)
    except (MlflowException, OSError, ValueError) as error:
        raise UsageError(
            f"--tracking-uri {tracking_uri}: the server cannot be reached: {first_line(first_cause(error))}"
        ) from error
    if answer.status_code >= 500:
        raise UsageError(f"--tracking-uri {tracking_uri}: the server answers with status {answer.status_code}")
