"""The data of a trial as MLflow's dataset inputs: the UI has a column and a filter for them."""

import json

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from mlflow.utils.validation import MAX_DATASET_DIGEST_SIZE

from analysis.commandline.passwords import hide_passwords
from trainable.config import Config

HELD_OUT = {"test_error": "test", "val_error": "validation"}
"""The split on which `Config.held_out` is measured."""


def dataset_inputs(config: Config, fingerprint: str, source: str | None) -> list[DatasetInput]:
    """The split that a config trains on and the one that is held out, each as a dataset of its own.

    The digest is the start of the data's fingerprint. `source` is the folder or URI of the data, where it has one.
    """
    return [
        DatasetInput(
            Dataset(
                name=f"{config.data}-{split}",
                digest=fingerprint[:MAX_DATASET_DIGEST_SIZE],
                source_type="local",
                source=json.dumps({"uri": hide_passwords(source or config.data.name)}),
            ),
            [InputTag(MLFLOW_DATASET_CONTEXT, split)],
        )
        for split in ("train", HELD_OUT[config.held_out])
    ]
