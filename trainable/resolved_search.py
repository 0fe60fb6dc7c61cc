"""A search as one sweep ran it: its definition on the sweep's data and epochs.

The record keeps it with each sweep that searched, so that a report knows the whole space and not only the configs that
were tried.
"""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import Trial

from trainable.config import Config
from trainable.frozen import Frozen
from trainable.search_definition import DEFAULT_WINNER, NOT_SEARCHABLE, Goal, Race, Scheduler, StartPoint
from trainable.search_space import Space, active, config_fields, suggest, targets

MOST_POINTS = 10_000
"""A space with more points is not enumerated."""


class ResolvedSearch(Frozen):
    """A search as one sweep ran it. The record keeps it."""

    study: str
    title: str
    fingerprint: str
    """The fingerprint of the data."""
    base: Config
    """What every trial starts from: the baseline with the sweep's changes and the fields that the search fixes."""
    space: Space
    start: tuple[StartPoint, ...] = ()
    scheduler: Scheduler
    race: Race = Race()
    sampler: str
    """What suggests the configs, in words for a reader."""
    seeds: tuple[int, ...]
    """The seeds that each config is trained for."""
    samples: int
    """Number of configs to try, including those that are already recorded."""
    winner: str = DEFAULT_WINNER
    """The name of the winner's files and registered model."""
    goal: Goal | None = None

    def point(self, config: Config) -> dict[str, Any]:
        """The values that a config has for the parameters of the space, without those that do not exist there."""
        values = self._all_values(config)
        return {name: values[name] for name in active(self.space, values)}

    def start_values(self, point: StartPoint) -> dict[str, Any]:
        """The values of the parameters that exist at a start point."""
        values = self._all_values(self.base) | point.values
        return {name: values[name] for name in active(self.space, values)}

    def _all_values(self, config: Config) -> dict[str, Any]:
        return {name: target.read(config) for name, target in targets(self.space).items()}

    def covers(self, config: Config, fingerprint: str) -> bool:
        """Whether only fields that the search varies differ from its base in a config on the data with that
        fingerprint. Their values may lie outside the space (see `contains`)."""
        if fingerprint != self.fingerprint or any(getattr(config, f) != getattr(self.base, f) for f in NOT_SEARCHABLE):
            return False  # the rest takes long for a record of thousands
        return config == self.base.model_copy(update=config_fields(self.space, self._all_values(config), self.base))

    def contains(self, config: Config) -> bool:
        """Whether the values of a config that the search covers lie in its space."""
        return all(self.space[name].contains(value) for name, value in self.point(config).items())

    def points(self) -> list[dict[str, Any]] | None:
        """All values that the parameters can have together; None for more than `MOST_POINTS`, and where one is
        continuous."""
        points: list[dict[str, Any]] = [{}]
        for name, parameter in self.space.items():
            extended = []
            for point in points:
                if name not in active(self.space, point):
                    extended.append(point)
                elif parameter.values is None or len(extended) + len(parameter.values) > MOST_POINTS:
                    return None
                else:
                    extended += [{**point, name: value} for value in parameter.values]
            points = extended
        return points

    def config(self, values: Mapping[str, Any]) -> Config:
        """The base with these values of parameters. Raises `pydantic.ValidationError` where they do not go together."""
        return self.base.change(**config_fields(self.space, values, self.base))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna's distributions, by parameter, whether or not it exists everywhere."""
        return {name: parameter.distribution for name, parameter in self.space.items()}

    def suggest(self, trial: Trial) -> None:
        """Let an Optuna trial choose the parameters' values."""
        suggest(self.space, trial)

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs after which ASHA compares trials. The last epoch is not one of them."""
        return self.scheduler.rungs(self.base.epochs)
