"""Classifies images with the champion of the registered models:

    python -m analysis.predict cat.png ship.jpg

It prints a line for each image: the file, the class and its probability.
"""

if __name__ == "__main__":
    from analysis.commandline.start import start

    start()

from pathlib import Path
from typing import Annotated

import mlflow
import numpy as np
import typer
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from analysis.commandline.commands import command_line, run_command
from analysis.commandline.record_options import EXPERIMENT, TRACKING_URI, Experiment, TrackingUri
from analysis.record.opening import NAMED, find_record
from analysis.record.recorded import CHAMPION
from trainable.config import Config
from trainable.encoded import read_image
from trainable.errors import UsageError, first_line
from trainable.image_set import ImageSet
from trainable.search_definition import model_name

app = command_line()


@app.command()
def main(
    images: Annotated[
        list[Path],
        typer.Argument(help="Pictures of the model's size (32 by 32 pixels for CIFAR-10) and 8 bits a channel."),
    ],
    model: Annotated[str | None, typer.Option(help="Registered model. Default: EXPERIMENT-best-bn.")] = None,
    tracking_uri: TrackingUri = TRACKING_URI,
    experiment: Experiment = EXPERIMENT,
) -> None:
    """Print the class of each image and its probability."""
    if not find_record(tracking_uri, experiment):
        raise UsageError(f"no record at {tracking_uri}")
    try:
        champion, data = load_champion(model or model_name(experiment), tracking_uri)
        pixels = np.stack([read_image(str(file), file, data.size)[0] for file in images])
    except LookupError as error:
        raise UsageError(f"{first_line(error)}{_champions(tracking_uri)}") from error
    except ValueError as error:
        raise UsageError(first_line(error)) from error
    probabilities_nk: np.ndarray = champion.predict(pixels)
    for file, probabilities_k in zip(images, probabilities_nk, strict=True):
        print(f"{file}: {data.classes[probabilities_k.argmax()]} {probabilities_k.max():.3f}")


def load_champion(model: str, tracking_uri: str) -> tuple[PyFuncModel, ImageSet]:
    """The champion of a registered model and the data that it was trained on. Raises `LookupError` where there is
    none."""
    try:
        client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
        version = client.get_model_version_by_alias(model, CHAMPION).version
        source = client.get_model_version_download_uri(model, version)
        folder = mlflow.artifacts.download_artifacts(source, tracking_uri=tracking_uri)
        champion = mlflow.pyfunc.load_model(folder)
    except MlflowException as error:
        raise LookupError(f"--model {model}: no {CHAMPION} in {tracking_uri}: {first_line(error)}") from error
    config = Config.model_validate_json((Path(folder) / "artifacts" / "config.json").read_text("utf-8"))
    return champion, config.data


def _champions(tracking_uri: str) -> str:
    """Which models have a champion, as the end of an error; empty where none has."""
    try:
        models = MlflowClient(tracking_uri, registry_uri=tracking_uri).search_registered_models()
    except MlflowException:
        return ""
    names = [each.name for each in models if CHAMPION in each.aliases]
    return f"; models with one: {', '.join(names[:NAMED])}{', ...' * (len(names) > NAMED)}" if names else ""


if __name__ == "__main__":
    run_command(app)
