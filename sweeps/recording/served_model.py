"""The registered model, as code that MLflow loads: uint8 images (N, P, P, 3) to class probabilities (N, K)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedModel(PythonModel):
    """Predicts with one seed of the winner, `SERVED_SEED`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the config and the weights."""
        from trainable.config import Config
        from trainable.evaluate import load_model
        from trainable.files import SERVED_SEED

        config = Config(**json.loads(Path(context.artifacts["config"]).read_text()))
        self._model = load_model(config, Path(context.artifacts["weights"]), SERVED_SEED)

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Class probabilities, float32 (N, K)."""
        import torch

        from trainable.batches import normalise

        images_nchw = normalise(torch.from_numpy(np.array(model_input, dtype=np.uint8))[:, None])
        with torch.inference_mode():
            return self._model(images_nchw).softmax(1).numpy()


set_model(ServedModel())
