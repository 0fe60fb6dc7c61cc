"""Pictures of a trial's first-layer kernels in the MLflow UI: after the training, and by epoch."""

import re
from collections.abc import Mapping

import numpy as np
from mlflow import MlflowClient

from analysis.plots.kernels import bound_of, kernel_grid
from analysis.record.arrays import LAYERS
from analysis.record.recorded import TrialRecord
from trainable.files import EPOCH_KERNELS, TRACES, TRAINED, WEIGHTS, entries_under

BY_EPOCH, AFTER_TRAINING = "kernels", "trained_kernels"
"""Keys of the pictures: of those of single epochs, whose step is the epoch, and of the last one's, whose step is 0."""
FIRST_LAYER = f"{TRAINED}conv1.weight"


def has_kernels(trial: TrialRecord) -> bool:
    """Whether the record has kernels of a trial. An export without weights has them in a file of their own, or not."""
    if trial.config.has_own_network:
        return False
    return trial.has(LAYERS) or (trial.has(TRACES) and trial.has(WEIGHTS))


def log_kernels(client: MlflowClient, run_id: str, arrays: Mapping[str, np.ndarray], epochs: int) -> None:
    """Log pictures of the kernels after 0, 1, 2, 4, ... and all epochs, as far as a trial's arrays have them; none
    where the arrays have no trained kernels, and none that the run has. All are on one scale, to show how they grow.

    Raises `ValueError` for kernels that are not (N, 3, 3, 3).
    """
    if FIRST_LAYER not in arrays:
        return
    kernels = {int(epoch): array for epoch, array in entries_under(EPOCH_KERNELS, arrays).items()}
    kernels[epochs] = arrays[FIRST_LAYER]
    for epoch, array in kernels.items():
        if array.shape[1:] != (3, 3, 3):
            raise ValueError(f"of epoch {epoch}: shape {array.shape}: must be (N, 3, 3, 3)")
    bound = bound_of(*kernels.values())
    pictures = {(BY_EPOCH, epoch): array for epoch, array in sorted(kernels.items())}
    pictures[AFTER_TRAINING, 0] = kernels[epochs]
    logged = _logged(client, run_id)
    for (key, step), array in pictures.items():
        if (step & (step - 1) == 0 or step == epochs) and (key, step) not in logged:
            client.log_image(run_id, kernel_grid(array, bound), key=key, step=step)


def _logged(client: MlflowClient, run_id: str) -> set[tuple[str, int]]:
    """The key and the step of each picture that a run has. MLflow names a file KEY+step+STEP+..., and writes the one
    that ends with +compressed last."""
    names = [file.path.rpartition("/")[2] for file in client.list_artifacts(run_id, "images")]
    found = [re.fullmatch(r"(.+)\+step\+(\d+)\+.*\+compressed\.\w+", name) for name in names]
    return {(each[1], int(each[2])) for each in found if each}
