"""Packages a trained network as an MLflow model that serves predictions."""

from importlib.metadata import version
from pathlib import Path

import mlflow.pyfunc
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

import trainable
from trainable.config import Config

PACKAGES = ("torch", "torchvision", "pydantic", "safetensors", "pyarrow", "pillow", "filelock", "scikit-learn")
"""What `trainable` needs to serve predictions."""


def save_model(config: Config, weights: Path, folder: Path) -> None:
    """Save an MLflow model of code and plain weights in a folder: nothing in it is pickled. `weights` is the file that
    the record keeps of the config's training. A server installs the versions of the packages that are installed here,
    without what marks a local build, as `+cu132`."""
    image = config.data.size, config.data.size, 3
    config_file = weights.with_name("config.json")
    config_file.write_text(config.model_dump_json())
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(Path(__file__).with_name("served_model.py")),
        artifacts={"weights": str(weights), "config": str(config_file)},
        code_paths=[str(Path(trainable.__file__).parent)],
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in PACKAGES],
        signature=ModelSignature(
            inputs=Schema([TensorSpec(np.dtype("uint8"), (-1, *image))]),
            outputs=Schema([TensorSpec(np.dtype("float32"), (-1, len(config.data.classes)))]),
        ),
        input_example=np.zeros((1, *image), np.uint8),
    )
