"""What the commands here that read a tracking server or store have in common."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.record import SQLITE

TrackingUri = Annotated[str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server or store.")]
TRACKING_URI = "sqlite:///mlflow.db"
"""The default."""
Experiment = Annotated[str, typer.Option(envvar="MLFLOW_EXPERIMENT_NAME", help="MLflow experiment.")]
EXPERIMENT = "ablations-cifar10"
"""The default."""


def is_missing(tracking_uri: str) -> bool:
    """Whether it names an embedded record that does not exist. MLflow would make it."""
    return tracking_uri.startswith(SQLITE) and not Path(tracking_uri.removeprefix(SQLITE)).exists()
