"""Reads a config from a file, such as the `best_bn.yaml` of a search's winner (see `analysis.writing.config_text`)."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sweeps.errors import config_problem
from sweeps.studies.yaml_file import read_yaml
from trainable.change import Change
from trainable.config import Config
from trainable.errors import UsageError
from trainable.problem import first_problem
from trainable.study import Row, Study, Table

NUMBER = "40"
"""The number of the table that holds the config alone."""


def read_config(file: Path) -> Study:
    """The config in a file as a study of one row. Raises `UsageError` in one line: the file, the field, the value and
    what is allowed."""
    content = read_yaml("--config", file).content
    if not isinstance(content, dict) or set(content) != {"name", "config"} or not isinstance(content["config"], dict):
        raise UsageError(f"--config {file}: must have a name and a config, a mapping of fields, and nothing else")
    try:
        config = Config(**TypeAdapter(Change).validate_python(content["config"], context=file.parent))
    except ValidationError as error:
        raise UsageError(f"--config {file}: {config_problem(error)}") from error
    try:
        row = Row(name=str(content["name"]), change=config.model_dump(mode="json"))
        table = Table(number=NUMBER, slug="config", title=row.name, varies="config", rows=(row,))
        return Study(name=f"config-{row.name}", title=row.name, tables=(table,))
    except ValidationError as error:
        raise UsageError(f"--config {file}: {first_problem(error)}") from error
