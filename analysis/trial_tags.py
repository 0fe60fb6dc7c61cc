"""The tags of a trial's run that the record is read from. A person can edit them in MLflow's UI."""

from collections.abc import Mapping

from pydantic import BaseModel, Field, Json, NonNegativeInt, PositiveInt, ValidationError

from analysis.unreadable import first_problem
from trainable.config import Config


class TrialTags(BaseModel):
    """The tags of a trial that are parsed, and not only shown. Build it with `read_tags`."""

    key: str = Field(min_length=1)
    config: Json[Config]
    """The fields that differ from the defaults; see `Config.canonical`."""
    seeds: Json[tuple[NonNegativeInt, ...]] = Field(min_length=1)
    probe_every: PositiveInt | None = None
    proven_seeds: PositiveInt | None = None


def read_tags(tags: Mapping[str, str]) -> TrialTags:
    """Parse a run's tags. Raises `ValueError` in one line: the tag, its value and what is allowed."""
    try:
        return TrialTags(**{name: tags[name] for name in TrialTags.model_fields if name in tags})
    except ValidationError as error:
        raise ValueError(f"tag {first_problem(error)}") from error
