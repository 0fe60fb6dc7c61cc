"""What the commands here that read a tracking server or store have in common."""

import sqlite3
from pathlib import Path
from typing import Annotated

import typer

from analysis.record.embedded import database_of, follow_move, is_made, uri_of

TRACKING_URI = "sqlite:///mlflow.db"
"""The default, in the working folder."""


def default_record() -> str:
    """The default with its whole path: a person may type what is printed of it elsewhere."""
    return uri_of(Path.cwd() / "mlflow.db")


def _whole(tracking_uri: str) -> str:
    return default_record() if tracking_uri == TRACKING_URI else tracking_uri


TrackingUri = Annotated[
    str, typer.Option(envvar="MLFLOW_TRACKING_URI", callback=_whole, help="MLflow server or store.")
]
Experiment = Annotated[str, typer.Option(envvar="MLFLOW_EXPERIMENT_NAME", help="MLflow experiment.")]
EXPERIMENT = "ablations-cifar10"
"""The default."""


def find_embedded(tracking_uri: str, experiment: str) -> None:
    """Check an embedded record before MLflow opens it, and follow it where it was moved; see `follow_move`.

    Raises `LookupError` where there is none, which MLflow would make, and `ValueError` for a bad URI.
    """
    if database := database_of(tracking_uri):
        try:
            if not is_made(database):
                raise LookupError(f"no record at {tracking_uri}")
            follow_move(database, experiment)
        except sqlite3.DatabaseError as error:
            raise LookupError(f"--tracking-uri {tracking_uri}: {error}") from error
