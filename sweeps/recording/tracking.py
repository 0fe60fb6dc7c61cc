"""Makes the experiment of a tracking server or store, and names what fails there."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from analysis.record.embedded import ARTIFACTS, database_of, is_made, path_of, uri_of
from analysis.record.opening import RECORD_ERRORS
from sweeps.errors import SweepError
from trainable.errors import UsageError, first_line


@contextmanager
def named_failures(tracking_uri: str) -> Iterator[None]:
    """Raise `SweepError`, which says what to do, where the record fails while it is read or written."""
    try:
        yield
    except BrokenPipeError:  # nobody reads on what is printed
        raise
    except RECORD_ERRORS as error:
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
    if database is None:
        _check_artifacts(client, existing, tracking_uri)
    return client, existing.experiment_id


def _check_artifacts(client: MlflowClient, experiment: Experiment, tracking_uri: str) -> None:
    """Raises `UsageError` where an experiment's artifacts are in a folder of another machine: nobody here would find
    claims, weights and tables."""
    folder = path_of(experiment.artifact_location)
    is_local = urlsplit(experiment.artifact_location).scheme in ("", "file")
    if is_local and not folder.is_dir() and _has_runs(client, experiment):
        raise UsageError(
            f"--tracking-uri {tracking_uri}: the artifacts of {experiment.name} are in {folder}, which is not on this "
            "machine; for several machines use an MLflow server, which hands them on"
        )


def _has_runs(client: MlflowClient, experiment: Experiment) -> bool:
    return bool(client.search_runs([experiment.experiment_id], max_results=1))


def check_makeable(tracking_uri: str) -> None:
    """Raises `UsageError` where the folder of an embedded record that does not exist yet cannot be written to."""
    if database := database_of(tracking_uri):
        existing = next(parent for parent in database.parents if parent.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise UsageError(f"--tracking-uri {tracking_uri}: {existing} is not a folder that can be written to")


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
