"""The search's winner: its test error, read once; its config on the sweep's run; its model in the registry."""

import tempfile
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import ray
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from analysis.record import ARRAYS_FOLDER, VAL_ERROR, WINNER_METRIC, TrialRecord
from sweeps.errors import UsageError
from sweeps.recording.recorder import Recorder
from sweeps.running.cluster import ROOT
from sweeps.running.context import TrialContext
from trainable.config import Config
from trainable.storage import WEIGHTS

REQUIREMENTS = ["torch", "torchvision", "pydantic", "safetensors", "pyarrow", "pillow", "filelock", "scikit-learn"]
SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype("uint8"), (-1, 32, 32, 3))]),
    outputs=Schema([TensorSpec(np.dtype("float32"), (-1, 10))]),
)


def record_winner(
    best: TrialRecord, name: str, experiment: str, client: MlflowClient, recorder: Recorder, context: TrialContext
) -> None:
    """Test the best trial's model and hand its config, figures and registered model to the recorder.

    `name` is the search's name for its winner: the config is `NAME_config.json`, the model `NAME_model`. Raises
    `UsageError` where the winner was imported without its weights.
    """
    if not best.has(WEIGHTS):
        raise UsageError(
            f"the record has no weights of the winner {best.name}: export it with --models where it was trained, and "
            "import that"
        )
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(client.download_artifacts(best.run_id, f"{ARRAYS_FOLDER}/{WEIGHTS}", folder))
        evaluate = ray.remote(num_cpus=1)(_test_error)
        test_error = ray.get(evaluate.remote(best.config, best.seeds[0], weights.read_bytes(), context))
        val_error = best.metrics[VAL_ERROR]
        winner = {
            "name": best.name,
            "key": best.key,
            "config": best.config.model_dump(mode="json"),
            VAL_ERROR: val_error,
            "test_error": test_error,
            "data": best.config.data,
            "data_fingerprint": context.fingerprint,
        }
        config_file, model_folder = f"{name}_config.json", f"{name}_model"
        model = Path(folder) / model_folder
        _save_model(best.config, weights, model)
        recorder.act(lambda client, run_id: client.log_dict(run_id, winner, config_file))
        recorder.act(lambda client, run_id: client.log_metric(run_id, f"best_{VAL_ERROR}", val_error))
        recorder.act(lambda client, run_id: client.log_metric(run_id, WINNER_METRIC, test_error))
        recorder.act(lambda client, run_id: client.log_artifacts(run_id, str(model), model_folder))
        registered = f"{experiment}-{name.replace('_', '-')}"
        recorder.act(lambda client, run_id: _register(client, run_id, registered, model_folder))
        recorder.act(lambda client, _: client.log_metric(best.run_id, WINNER_METRIC, test_error))
        recorder.flush()


def _test_error(config: Config, seed: int, weights: bytes, context: TrialContext) -> float:
    from trainable.data import load_same
    from trainable.evaluate import test_error

    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(weights)
        file.flush()
        data = load_same(config.data, context.data_dir, context.fingerprint)
        return test_error(config, Path(file.name), data, seed)


def _save_model(config: Config, weights: Path, folder: Path) -> None:
    """An MLflow model from code and plain weights: nothing in it is pickled."""
    config_file = weights.with_name("config.json")
    config_file.write_text(config.model_dump_json())
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(ROOT / "sweeps" / "recording" / "served_model.py"),
        artifacts={"weights": str(weights), "config": str(config_file)},
        code_paths=[str(ROOT / "trainable")],
        pip_requirements=REQUIREMENTS,
        signature=SIGNATURE,
        input_example=np.zeros((1, 32, 32, 3), np.uint8),
    )


def _register(client: MlflowClient, run_id: str, name: str, model_folder: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri}/{model_folder}"
    if not client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        client.create_model_version(name, source, run_id)
