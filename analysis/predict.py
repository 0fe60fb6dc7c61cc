"""Classifies images with the champion of the registered models:

    python -m analysis.predict cat.png ship.jpg

It prints a line for each image: the file, the class and its probability.
"""

import sys
from pathlib import Path
from typing import Annotated

import mlflow
import numpy as np
import typer
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from PIL import Image, UnidentifiedImageError

from analysis.passwords import hide_passwords
from analysis.record import CHAMPION
from analysis.record_options import EXPERIMENT, TRACKING_URI, Experiment, TrackingUri, find_embedded
from trainable.config import Config
from trainable.data import class_names

SIZE = (32, 32)
"""The images' width and height in pixels."""


def main(
    images: Annotated[list[Path], typer.Argument(help="Pictures of 32 by 32 pixels, in any form that Pillow reads.")],
    model: Annotated[str | None, typer.Option(help="Registered model. Default: EXPERIMENT-best-bn.")] = None,
    tracking_uri: TrackingUri = TRACKING_URI,
    experiment: Experiment = EXPERIMENT,
) -> None:
    """Print the class of each image and its probability."""
    try:
        pixels = np.stack([read_image(file) for file in images])
        find_embedded(tracking_uri, experiment)
        champion, names = load_champion(model or f"{experiment}-best-bn", tracking_uri)
    except (ValueError, LookupError) as error:
        print("error:", hide_passwords(str(error.args[0])), file=sys.stderr)
        raise typer.Exit(2) from error
    probabilities_nk: np.ndarray = champion.predict(pixels)
    for file, probabilities_k in zip(images, probabilities_nk, strict=True):
        print(f"{file}: {names[probabilities_k.argmax()]} {probabilities_k.max():.3f}")


def read_image(file: Path) -> np.ndarray:
    """The picture's pixels as RGB, uint8 (32, 32, 3). Raises `ValueError` for a file that is no picture of that
    size."""
    try:
        with Image.open(file) as image:
            if image.size != SIZE:
                raise ValueError(f"{file}: {image.width} by {image.height} pixels; must be {SIZE[0]} by {SIZE[1]}")
            if image.mode.startswith(("I", "F")):  # Pillow would cut off what is above 255
                raise ValueError(f"{file}: pixels of mode {image.mode}; must be of 8 bits a channel")
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{file}: is not a picture that Pillow reads") from error
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror or error}") from error


def load_champion(model: str, tracking_uri: str) -> tuple[PyFuncModel, tuple[str, ...]]:
    """The champion of a registered model and the names of its classes. Raises `LookupError` where there is none."""
    try:
        client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
        version = client.get_model_version_by_alias(model, CHAMPION).version
        source = client.get_model_version_download_uri(model, version)
        folder = mlflow.artifacts.download_artifacts(source, tracking_uri=tracking_uri)
        champion = mlflow.pyfunc.load_model(folder)
    except MlflowException as error:
        raise LookupError(f"--model {model}: no {CHAMPION} in {tracking_uri}: {str(error).splitlines()[0]}") from error
    config = Config.model_validate_json((Path(folder) / "artifacts" / "config.json").read_text("utf-8"))
    return champion, class_names(config.data)


if __name__ == "__main__":
    typer.run(main)
