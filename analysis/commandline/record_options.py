"""What the commands here that read a tracking server or store have in common."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.record.embedded import uri_of

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
