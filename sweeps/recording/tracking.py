"""Reaches and checks the tracking server or store, and makes its experiment."""

import os
import platform
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.rest_utils import http_request
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from analysis.record.embedded import ARTIFACTS, SCHEME, database_of, follow_move, is_made, uri_of
from analysis.record.mlflow_record import Record
from analysis.record.recorded import ROLE, RunStatus
from sweeps.errors import SweepError
from sweeps.stages import remove_stages
from trainable.errors import UsageError, first_cause, first_line

DRIVER = "driver"
"""Tag of every run: the machine and the process that wrote it."""
MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
REACH_S = 5.0


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


@contextmanager
def named_failures(tracking_uri: str) -> Iterator[None]:
    """Raise `SweepError`, which says what to do, where the record fails while it is read or written."""
    try:
        yield
    except BrokenPipeError:  # nobody reads on what is printed
        raise
    except (MlflowException, SQLAlchemyError, sqlite3.Error, requests.RequestException, OSError) as error:
        raise SweepError(
            f"the record {tracking_uri} fails: {first_line(error)}; free space "
            "there, or let its server answer, and run the same command again: the trials are kept"
        ) from error


def ensure_experiment(tracking_uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Return a client and the experiment's id, and make what is missing: the database, its artifact folder, the
    experiment."""
    database, location = database_of(tracking_uri), None
    if database:
        make_database(database)
        location = (database.parent / ARTIFACTS / experiment).as_uri()
    client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
    if not client.get_experiment_by_name(experiment):
        tags = {"mlflow.experimentKind": "custom_model_development"}  # training runs, not traces
        try:
            client.create_experiment(experiment, location, tags=tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another sweep has just made it
                raise
    existing = client.get_experiment_by_name(experiment)
    assert existing is not None
    return client, existing.experiment_id


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


def make_database(database: Path) -> None:
    """Make an embedded record's database where there is none.

    It is made aside and moved into place, so that a kill leaves no half of it: MLflow would never open that again. Of
    several processes one makes it, and the others wait.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        if is_made(database):
            return
        unfinished = Path(f"{database}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        aside = unfinished / database.name
        SqlAlchemyStore(uri_of(aside), (database.parent / ARTIFACTS).as_uri()).engine.dispose()
        _write_ahead(aside)
        aside.replace(database)
        shutil.rmtree(unfinished)


def _write_ahead(database: Path) -> None:
    """Turn on SQLite's write-ahead log for good: commits take half the time, and the UI can read while a sweep
    writes."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def this_driver() -> str:
    """The value of the `DRIVER` tag: this process."""
    return f"{_this_machine()}:{os.getpid()}"


@cache
def _this_machine() -> str:
    """What tells where a process number means this process: the host's name and, because containers and machines may
    share one, the machine's id and the container's space of process numbers."""
    machine = next((file.read_text().strip() for file in MACHINE_IDS if file.is_file()), "")
    return f"{platform.node()}/{machine[:8]}/{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"


def end_abandoned(record: Record, storage_path: str) -> None:
    """End the runs that a killed driver of this machine left as running, so that the UI does not show them so, and
    delete what Ray Tune wrote for them."""
    for run in record.running():
        if lost_driver(run):
            if run.data.tags.get(ROLE) == "sweep":
                remove_stages(storage_path, run.info.run_id)
            record.client.set_terminated(run.info.run_id, RunStatus.KILLED)


def lost_driver(run: Run) -> bool:
    """Whether a run's driver was a process of this machine, and is gone."""
    machine, _, pid = run.data.tags.get(DRIVER, "").rpartition(":")
    known = (_this_machine(), platform.node())  # the latter is all that earlier versions wrote
    return machine in known and not Path(f"/proc/{pid}").exists()


def end_sweep(client: MlflowClient, sweep: Run) -> None:
    """End a sweep whose driver is gone, and those of its trials that have not ended."""
    left = f"tags.{MLFLOW_PARENT_RUN_ID} = '{sweep.info.run_id}' and attributes.status = 'RUNNING'"
    for run in [*client.search_runs([sweep.info.experiment_id], left), sweep]:
        client.set_terminated(run.info.run_id, RunStatus.KILLED)


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
