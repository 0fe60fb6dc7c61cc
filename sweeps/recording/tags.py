"""Tags of runs."""

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException


def delete_tag(client: MlflowClient, run_id: str, name: str) -> None:
    """Delete a tag of a run, which may have lost it already: a write is repeated where its answer did not arrive."""
    try:
        client.delete_tag(run_id, name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
