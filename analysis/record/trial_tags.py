"""The tags of a trial's run that the record is read from. A person can edit them in MLflow's UI."""

import json
from collections.abc import Iterator, Mapping
from itertools import count, takewhile

from pydantic import BaseModel, Field, Json, NonNegativeInt, PositiveInt, ValidationError

from analysis.record.recorded import PROVEN
from trainable.config import Config
from trainable.problem import first_problem
from trainable.trial import TrialSpec

CONFIG = "config"
"""Tag with a trial's config as JSON. A longer one goes on in the tags config.2, config.3, and so on."""
MOST_CHARACTERS = 8_000
"""Characters of a tag's value, after which MLflow would cut it."""


class TrialTags(BaseModel):
    """The tags of a trial that are parsed, and not only shown. Build it with `read_tags`."""

    key: str = Field(min_length=1)
    config: Json[Config]
    """The fields that differ from the defaults; see `Config.canonical`."""
    seeds: Json[tuple[NonNegativeInt, ...]] = Field(min_length=1)
    probe_every: PositiveInt | None = None
    proven_seeds: dict[str, PositiveInt] = Field(default_factory=dict)
    """By the study of a search that it has won: the tags that begin with `PROVEN`."""


def written_tags(spec: TrialSpec) -> dict[str, str]:
    """The tags of a trial's run as it starts, of which `read_tags` makes its key, its config and its seeds."""
    config = json.dumps(spec.config.canonical())
    parts = (config[start : start + MOST_CHARACTERS] for start in range(0, len(config), MOST_CHARACTERS))
    return {"key": spec.key, "seeds": json.dumps(spec.seeds), **dict(zip(_config_tags(), parts, strict=False))}


def read_tags(tags: Mapping[str, str]) -> TrialTags:
    """Parse a run's tags. Raises `ValueError` in one line: the tag, its value and what is allowed."""
    proven = {name.removeprefix(PROVEN): value for name, value in tags.items() if name.startswith(PROVEN)}
    parsed = {name: tags[name] for name in TrialTags.model_fields if name in tags}
    if CONFIG in tags:
        parsed[CONFIG] = "".join(tags[name] for name in takewhile(tags.__contains__, _config_tags()))
    try:
        return TrialTags(**parsed | {"proven_seeds": proven})
    except ValidationError as error:
        raise ValueError(f"tag {first_problem(error)}") from error


def _config_tags() -> Iterator[str]:
    """The names of the tags that a config may take, in order."""
    yield CONFIG
    yield from (f"{CONFIG}.{part}" for part in count(2))
