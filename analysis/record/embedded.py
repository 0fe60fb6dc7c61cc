"""An embedded record: an SQLite database with the artifacts in a folder beside it. The two move together."""

import logging
import sqlite3
import warnings
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from urllib.request import url2pathname

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SAWarning

from analysis.record.recorded import RunStatus
from trainable.errors import first_line

SCHEME = "sqlite"
ARTIFACTS = "mlartifacts"
"""The folder of the artifacts, beside the database."""
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables of MLflow's database and their columns that say where artifacts are."""
EXPERIMENTS = "SELECT experiment_id, name, artifact_location FROM experiments"
RUNS = "SELECT run_uuid, status FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active'"

logger = logging.getLogger(__name__)


def uri_of(database: Path) -> str:
    """The tracking URI of an embedded record."""
    return f"{SCHEME}:///{str(database).replace('%', '%25').replace('?', '%3F')}"


def database_of(tracking_uri: str) -> Path | None:
    """The absolute path of an embedded record's database; None where the record is of another kind.

    SQLAlchemy reads the URI, as it does for MLflow. Raises `ValueError` in one line for a URI that names no file, or
    with options that SQLite does not take.
    """
    if tracking_uri.partition(":")[0].partition("+")[0] != SCHEME:
        return None
    try:
        parse_qsl(tracking_uri.partition("?")[2], strict_parsing=True)  # SQLAlchemy drops what has no value
        url = make_url(tracking_uri)
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)  # it also drops options that it does not know
            (file,), options = url.get_dialect()().create_connect_args(url)
        if options.get("uri") or file == ":memory:":
            raise ValueError(f"it must name a file, as {SCHEME}:///mlflow.db does")
        sqlite3.connect(":memory:", **options).close()
    except (ArgumentError, SAWarning, sqlite3.Error, TypeError, ValueError) as error:
        raise ValueError(first_line(error)) from error
    return Path(file)


def is_made(database: Path) -> bool:
    """Whether a database has tables; an empty one is as good as none. Raises `sqlite3.DatabaseError` for a file of
    another form.

    SQLite itself reads it: a process that opens and closes the file otherwise drops the locks that SQLite holds on it
    there (sqlite.org/howtocorrupt.html, section 2.2).
    """
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.OperationalError:  # it cannot be opened now, which says nothing of its form
        return True


def follow_move(database: Path, experiment: str, *, write: bool = True) -> None:
    """Let a record that was moved or copied with its artifacts name them where they are now, and log a line about it.

    MLflow keeps absolute locations. Artifacts that stayed where they were are still found there. Without `write` the
    record is only checked. Raises `LookupError` in one line where the experiment has finished runs, and artifacts of
    none are in either place. Other runs may have been killed before they wrote any.
    """
    root = database.parent / ARTIFACTS
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, name, location in connection.execute(EXPERIMENTS).fetchall():
            before, _, folder = (location or "").rpartition(f"/{ARTIFACTS}/")
            if not before.startswith("file:"):
                continue
            here = f"{root.as_uri()}/{folder}"
            runs = dict(connection.execute(RUNS, (number,)))
            if location != here and (not runs or _holds(here, runs)):
                if write:
                    _relocate(connection, location, here)
                if write and runs:
                    logger.warning("the record was moved: artifacts of %s are now in %s", name, path_of(here))
            elif name == experiment and RunStatus.FINISHED in runs.values() and not _holds(location, runs):
                raise LookupError(
                    f"the artifacts of experiment {name} are not in {path_of(location)}: move them to {path_of(here)}, "
                    f"beside {database.name}"
                )


def _relocate(connection: sqlite3.Connection, there: str, here: str) -> None:
    for table, column in LOCATIONS:
        connection.execute(
            f"UPDATE {table} SET {column} = :here || substr({column}, length(:there) + 1) "
            f"WHERE {column} = :there OR substr({column}, 1, length(:there) + 1) = :there || '/'",
            {"here": here, "there": there},
        )


def _holds(location: str, runs: Iterable[str]) -> bool:
    """Whether the artifacts of any of the runs are there."""
    return any((path_of(location) / run).is_dir() for run in runs)


def path_of(location: str) -> Path:
    """The folder at which MLflow says that artifacts are on this machine."""
    return Path(url2pathname(urlsplit(location).path))
