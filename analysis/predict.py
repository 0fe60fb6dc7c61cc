"""What the best model of a search says of images: for each its path, the class and that class's probability.

    python -m analysis.predict cat.png ship.jpg --tracking-uri sqlite:///mlflow.db --experiment ablations-cifar10

The model is the champion in the registry. The images have 32x32 pixels, as CIFAR-10's; other colours become RGB.
"""

import sys
from pathlib import Path
from typing import Annotated

import mlflow
import numpy as np
import typer
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from analysis.record import CHAMPION, is_missing
from trainable.data import class_names
from trainable.sources import DataError, decode


def load_champion(name: str, tracking_uri: str) -> PyFuncModel:
    """The registered model of that name. Raises `LookupError` where there is none with the alias `CHAMPION`, or where
    no server answers."""
    wanted = f"--model {name}: expected a registered model with the alias {CHAMPION} in {tracking_uri}"
    if is_missing(tracking_uri):
        raise LookupError(f"{wanted}, which does not exist")
    mlflow.set_tracking_uri(tracking_uri)
    try:
        return mlflow.pyfunc.load_model(f"models:/{name}@{CHAMPION}", suppress_warnings=True)
    except (MlflowException, OSError) as error:
        raise LookupError(f"{wanted}: {str(error).splitlines()[0]}") from error


def main(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files of 32x32 pixels.")],
    model: Annotated[str | None, typer.Option(help="Registered model. Default: EXPERIMENT-best-bn.")] = None,
    tracking_uri: Annotated[
        str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server or store.")
    ] = "sqlite:///mlflow.db",
    experiment: Annotated[
        str, typer.Option(envvar="MLFLOW_EXPERIMENT_NAME", help="MLflow experiment.")
    ] = "ablations-cifar10",
) -> None:
    """Print the class of each image as the best model of a search sees it, and the probability of that class."""
    try:
        pixels, _ = decode((str(file), file) for file in images)
        champion = load_champion(model or f"{experiment}-best-bn", tracking_uri)
    except (DataError, LookupError) as error:
        print(f"error: {error.args[0]}", file=sys.stderr)
        raise typer.Exit(2) from error
    names = class_names(champion.unwrap_python_model().config.data)
    probabilities_nk: np.ndarray = champion.predict(pixels)
    for file, probabilities in zip(images, probabilities_nk, strict=True):
        print(f"{file}\t{names[probabilities.argmax()]}\t{probabilities.max():.4f}")


if __name__ == "__main__":
    typer.run(main)
