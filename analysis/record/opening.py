"""Opens a record: checks its URI first, so that what is wrong is one line at once."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from analysis.record.embedded import SCHEME, database_of, follow_move, is_made
from analysis.record.mlflow_record import Record
from trainable.errors import UsageError, first_cause, first_line

DEFAULT = "Default"
"""An experiment that MLflow makes with each database."""
NAMED = 10
"""The most experiments that an error lists."""
REACH_S = 5.0
"""Seconds that a server has to answer."""

RECORD_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)
"""What is raised where a record fails while it is read or written. Errors of HTTP are `OSError`s."""


def open_record(tracking_uri: str, experiment: str, *, dry: bool = False) -> Record | None:
    """Open the record to read it; None where an embedded one does not exist yet. Raises `UsageError` as `find_record`
    does, and for an experiment that is deleted."""
    if not find_record(tracking_uri, experiment, dry=dry):
        return None
    with _as_usage_errors(tracking_uri):
        record = Record(tracking_uri, experiment)
    if record.deleted:
        raise UsageError(f"--experiment {experiment}: it is deleted in {tracking_uri}; restore it or name another")
    return record


def open_existing(tracking_uri: str, experiment: str) -> Record:
    """Open a record. Raises `UsageError` as `open_record` does, and where there is none."""
    if record := open_record(tracking_uri, experiment):
        return record
    raise UsageError(f"no record at {tracking_uri}")


def open_swept(tracking_uri: str, experiment: str) -> Record:
    """Open a record that has a sweep. Raises `UsageError` as `open_existing` does, and where there is no sweep."""
    record = open_existing(tracking_uri, experiment)
    with _as_usage_errors(tracking_uri):
        if record.sweeps():
            return record
    raise no_sweep(tracking_uri, experiment)


def no_sweep(tracking_uri: str, experiment: str) -> UsageError:
    """The error where an experiment has no sweep."""
    others = other_experiments(tracking_uri, experiment)
    return UsageError(f"--experiment {experiment}: no sweep in {tracking_uri}{others}")


def unknown_sweep(name: str, tracking_uri: str, experiment: str) -> UsageError:
    """The error where an experiment has no sweep of that name."""
    return UsageError(f"--sweep {name!r}: not in experiment {experiment} of {tracking_uri}")


def other_experiments(tracking_uri: str, experiment: str) -> str:
    """Which other experiments a record has, as the end of an error; empty where it has none."""
    with _as_usage_errors(tracking_uri):
        found = MlflowClient(tracking_uri).search_experiments(order_by=["name ASC"])
    others = [each.name for each in found if each.name not in (experiment, DEFAULT)]
    return f"; experiments there: {', '.join(others[:NAMED])}{', ...' * (len(others) > NAMED)}" if others else ""


def find_record(tracking_uri: str, experiment: str, *, dry: bool = False) -> bool:
    """Whether there is a record: a server or a database that answers, or an embedded record.

    An embedded record that was moved is told where its artifacts are now, unless it is a `dry` run, which writes
    nothing. Raises `UsageError` in one line for a URI that MLflow does not take, for a server or a database that does
    not answer, for a file that is no database, and where the artifacts of the experiment are lost.
    """
    with _as_usage_errors(tracking_uri):
        if database := database_of(tracking_uri):
            if not is_made(database):
                return False
            follow_move(database, experiment, write=not dry)
            return True
        scheme = urlsplit(tracking_uri).scheme
        if scheme.partition("+")[0] in DATABASE_ENGINES:
            _connect(tracking_uri)
    if scheme in ("http", "https"):
        _reach(tracking_uri)
    elif scheme in ("", "file"):
        raise UsageError(
            f"--tracking-uri {tracking_uri}: MLflow keeps no record in a plain folder; use {SCHEME}:///FILE.db"
        )
    return True


@contextmanager
def _as_usage_errors(tracking_uri: str) -> Iterator[None]:
    """Raise `UsageError` in one line in place of what a library raises."""
    try:
        yield
    except (*RECORD_ERRORS, LookupError, ImportError, ValueError) as error:
        raise UsageError(f"--tracking-uri {tracking_uri}: {first_line(error)}") from error


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
