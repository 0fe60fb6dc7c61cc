"""The definition of a search as data: its space, what it fixes, where it starts and what stops its trials early.

A study holds a `SearchDefinition`. The record keeps a `ResolvedSearch` with each sweep that searched, so that a report
knows the whole space and not only the configs that were tried.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.study import create_study
from optuna.trial import Trial
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from trainable.config import Config

PROTOCOL = {"protocol": "B"}
"""What every search fixes. Trials are compared on a held-out tenth of the train split; the test split is not used."""
COUNTED = 10_000
"""A space with more configs counts as endless."""
OPTIONS = ("data", "epochs", "precision", "protocol")
"""Fields of `Config` that no search may set: the sweep's options or `PROTOCOL` decide them."""


class _Data(BaseModel):
    """Immutable data that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Parameter(_Data):
    field: str = ""
    """The field of `Config` that the parameter sets. Default: the parameter's own name."""
    when: dict[str, tuple[bool | int | float | str, ...]] = {}
    """The parameter exists only where each of these parameters, which stand before it, has one of these values."""

    @property
    def condition(self) -> str:
        """`when` as a person reads it; empty where the parameter always exists."""
        return " and ".join(f"where {name} is {' or '.join(map(str, values))}" for name, values in self.when.items())


class Choice(_Parameter):
    """A parameter that takes one of the listed values."""

    choices: Annotated[tuple[bool | int | float | str, ...], Field(min_length=1)]

    @property
    def distribution(self) -> BaseDistribution:
        """The parameter as Optuna's distribution."""
        return CategoricalDistribution(self.choices)

    def suggest(self, trial: Trial, name: str) -> Any:
        """The value that an Optuna trial chooses."""
        return trial.suggest_categorical(name, self.choices)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to validate: where `Config` allows these, it allows all of the parameter's values."""
        return self.choices

    @property
    def values(self) -> Sequence[Any] | None:
        """All values; None where they cannot be counted."""
        return self.choices

    def contains(self, value: Any) -> bool:
        """Whether the parameter can take the value."""
        return value in self.choices

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices))


class Range(_Parameter):
    """A parameter that takes a number between two bounds, both included. With whole bounds it takes whole numbers."""

    low: int | Annotated[float, Field(allow_inf_nan=False)]
    high: int | Annotated[float, Field(allow_inf_nan=False)]
    log: bool = False
    """Whether it is sampled on a logarithmic scale."""

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"low {self.low} must not be above high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} must be above 0 on a logarithmic scale")
        return self

    @property
    def distribution(self) -> BaseDistribution:
        """The parameter as Optuna's distribution."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def suggest(self, trial: Trial, name: str) -> Any:
        """The value that an Optuna trial chooses."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to validate: where `Config` allows these, it allows all of the parameter's values."""
        return (self.low, self.high)

    @property
    def values(self) -> Sequence[Any] | None:
        """All values; None where they cannot be counted."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return range(self.low, self.high + 1)
        return None

    def contains(self, value: Any) -> bool:
        """Whether the parameter can take the value."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", logarithmic" if self.log else "")


def _kind(value: Any) -> str:
    return "Choice" if isinstance(value, Choice) or (isinstance(value, Mapping) and "choices" in value) else "Range"


Parameter = Annotated[Annotated[Choice, Tag("Choice")] | Annotated[Range, Tag("Range")], Discriminator(_kind)]
"""How a search varies one field of `Config`."""


class StartPoint(_Data):
    """A config that a search tries first."""

    values: dict[str, Any] = {}
    """Values of the space's parameters. A parameter that is not named keeps the baseline's value."""
    source: str = ""
    """Where the suggestion comes from."""
    reference: bool = False
    """Whether the winner is compared with this config, which is trained on the same terms."""


class Scheduler(_Data):
    """Early stopping by ASHA (Li et al. 2020, arXiv 1810.05934, section 3): at each rung the best of the trials
    continue, one in `reduction`, and the others stop."""

    reduction: int = Field(default=3, ge=2)
    grace: int | None = Field(default=None, ge=1)
    """The first rung, in epochs. Default: the trial's epochs divided by the square of `reduction`, at least 1."""

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs after which trials of `epochs` epochs are compared: `grace`, and every `reduction`-fold of it
        below `epochs`."""
        rungs = [self.grace or max(1, epochs // self.reduction**2)]
        while rungs[-1] * self.reduction < epochs:
            rungs.append(rungs[-1] * self.reduction)
        return tuple(rungs)


Space = dict[str, Parameter]
"""The parameters of a search by their names, in an order in which conditions come first."""


def fields(space: Space) -> set[str]:
    """The fields of `Config` that the space's parameters set."""
    return {parameter.field or name for name, parameter in space.items()}


def config_fields(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Config` that these values of parameters set."""
    return {space[name].field or name: value for name, value in values.items()}


def suggest(space: Space, trial: Trial) -> dict[str, Any]:
    """Let an Optuna trial choose the value of every parameter that exists at the values of those before it."""
    values: dict[str, Any] = {}
    for name, parameter in space.items():
        if name in active(space, values):
            values[name] = parameter.suggest(trial, name)
    return values


def active(space: Space, values: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters that exist at these values of the others."""
    chosen: Space = {}
    for name, parameter in space.items():
        if all(other in chosen and values.get(other) in allowed for other, allowed in parameter.when.items()):
            chosen[name] = parameter
    return chosen


class SearchDefinition(_Data):
    """A search as a study defines it."""

    space: Annotated[Space, Field(min_length=1)]
    fixed: dict[str, Any] = {}
    """Fields of `Config` that are the same in every trial, besides those that the sweep sets."""
    start: tuple[StartPoint, ...] = ()
    """Configs to try first, in this order."""
    scheduler: Scheduler = Scheduler()
    winner: Annotated[str, Field(pattern=r"^[a-z0-9_]*$")] = ""
    """The name of the winner's files and registered model. Default: `best_` and the study's name."""

    @model_validator(mode="after")
    def _fields_exist(self) -> "SearchDefinition":
        """Refuse a name that is no field of `Config`, that a search may not set, or that is both fixed and searched."""
        for name in (*fields(self.space), *self.fixed):
            if name not in Config.model_fields:
                raise ValueError(f"{name}: unknown; allowed: {', '.join(Config.model_fields)}")
            if name in OPTIONS:
                raise ValueError(f"{name}: options of the sweep decide it, and a search runs on protocol B")
        if both := fields(self.space) & self.fixed.keys():
            raise ValueError(f"{min(both)}: it is fixed and searched; leave it out of one")
        before: dict[str, Choice] = {}
        for name, parameter in self.space.items():
            for condition, values in parameter.when.items():
                if condition not in before or set(values) - set(before[condition].choices):
                    raise ValueError(f"{name}: when {condition} is {', '.join(map(str, values))}: must be choices of a "
                                     "parameter that stands before it")  # fmt: skip
            if isinstance(parameter, Choice):
                before[name] = parameter
        for point in self.start:
            if unknown := point.values.keys() - self.space.keys():
                raise ValueError(f"start: {min(unknown)} is not in the space")
        return self

    def configs_to_check(self) -> list[dict[str, Any]]:
        """Fields of configs that show whether the parameters go together everywhere.

        For each combination of the values that conditions name, every other parameter has a value that is not the
        field's default, and then one parameter at a time takes each of its ends.
        """
        conditions = sorted({name for parameter in self.space.values() for name in parameter.when})
        unusual = {name: _unusual(parameter, parameter.field or name) for name, parameter in self.space.items()}
        points: list[dict[str, Any]] = []
        for combination in product(*(self.space[name].ends for name in conditions)):
            point = unusual | dict(zip(conditions, combination, strict=True))
            free = [name for name in self.space if name not in conditions]
            points += [point, *({**point, name: end} for name in free for end in self.space[name].ends)]
        return [
            config_fields(self.space, {name: point[name] for name in active(self.space, point)}) for point in points
        ]

    def sample(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Random values of the parameters, `count` times. The first of them are the same for every count."""
        study = create_study(sampler=RandomSampler(seed=seed))
        return [suggest(self.space, study.ask()) for _ in range(count)]

    def changes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of `Config` that these values of parameters set."""
        return config_fields(self.space, values)


def _unusual(parameter: Choice | Range, field: str) -> Any:
    """A value of the parameter that is not the field's default, where it has one: such a value shows idle fields."""
    default = Config.model_fields[field].default
    return next((end for end in reversed(parameter.ends) if end != default), parameter.ends[-1])


class ResolvedSearch(_Data):
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
    sampler: str
    """What suggests the configs, in words for a reader."""
    seeds: tuple[int, ...]
    """The seeds that each config is trained for."""
    samples: int
    """Number of configs to try, including those that are already recorded."""
    winner: str = "best_bn"
    """The name of the winner's files and registered model."""

    def point(self, config: Config) -> dict[str, Any]:
        """The values that a config has for the parameters of the space, without those that do not exist there."""
        values = self._all_values(config)
        return {name: values[name] for name in active(self.space, values)}

    def start_values(self, point: StartPoint) -> dict[str, Any]:
        """The values of the parameters that exist at a start point."""
        values = self._all_values(self.base) | point.values
        return {name: values[name] for name in active(self.space, values)}

    def _all_values(self, config: Config) -> dict[str, Any]:
        return {name: getattr(config, parameter.field or name) for name, parameter in self.space.items()}

    def owns(self, config: Config, fingerprint: str) -> bool:
        """Whether a config on the data with that fingerprint is one of this search's: only fields that the search
        varies differ from the base. Their values may lie outside the space (see `contains`)."""
        varied = fields(self.space)
        return fingerprint == self.fingerprint and config.model_dump(exclude=varied) == self.base.model_dump(
            exclude=varied
        )

    def contains(self, config: Config) -> bool:
        """Whether the values of a config that the search owns lie in its space."""
        return all(self.space[name].contains(value) for name, value in self.point(config).items())

    def points(self) -> list[dict[str, Any]] | None:
        """All values that the parameters can have together; None for more than `COUNTED`, or a continuous parameter."""
        points: list[dict[str, Any]] = [{}]
        for name, parameter in self.space.items():
            extended = []
            for point in points:
                if name not in active(self.space, point):
                    extended.append(point)
                elif parameter.values is None:
                    return None
                else:
                    extended += [{**point, name: value} for value in parameter.values]
            if len(extended) > COUNTED:
                return None
            points = extended
        return points

    def config(self, values: Mapping[str, Any]) -> Config:
        """The base with these values of parameters. Raises `pydantic.ValidationError` where they do not go together."""
        return self.base.change(**self.changes(values))

    def changes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of `Config` that these values of parameters set."""
        return config_fields(self.space, values)

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
