"""What a sweep's commit does not say of its code: the installed packages and the changes since. Files on its run."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient

ORIGIN_FOLDER = "origin"
"""Folder with these files, among a sweep's artifacts and in an exported record."""
PACKAGES = "packages.txt"
"""Each installed package with its version, as `pip freeze` lists them."""
CHANGES = "changes.diff"
"""The changes of tracked files since the commit, where there are any."""
ORIGIN_FILES = (PACKAGES, CHANGES)


def recorded_origin(client: MlflowClient, run_id: str) -> dict[str, str]:
    """The texts of a sweep's run by file name (`ORIGIN_FILES`): those that it has."""
    recorded = {file.path for file in client.list_artifacts(run_id, ORIGIN_FOLDER)}
    paths = {name: f"{ORIGIN_FOLDER}/{name}" for name in ORIGIN_FILES}
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: Path(client.download_artifacts(run_id, path, folder)).read_text("utf-8")
            for name, path in paths.items()
            if path in recorded
        }


def log_origin(client: MlflowClient, run_id: str, origin: Mapping[str, str]) -> None:
    """Keep the texts on a sweep's run."""
    for name, text in origin.items():
        client.log_text(run_id, text, f"{ORIGIN_FOLDER}/{name}")


def exported_origin(home: Path) -> dict[str, str]:
    """The texts in the folder of an exported sweep. Raises `ValueError` for one that is no text."""
    files = {name: home / ORIGIN_FOLDER / name for name in ORIGIN_FILES}
    return {name: file.read_text("utf-8") for name, file in files.items() if file.is_file()}


def export_origin(home: Path, origin: Mapping[str, str]) -> None:
    """Write the texts to the folder of an exported sweep."""
    for name, text in origin.items():
        (home / ORIGIN_FOLDER).mkdir(exist_ok=True)
        (home / ORIGIN_FOLDER / name).write_text(text, "utf-8")
