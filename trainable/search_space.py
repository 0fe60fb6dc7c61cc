"""The definition of a search as data: its space, what it fixes, where it starts and what stops its trials early.

A study holds a `SearchDefinition`. The record keeps a `ResolvedSearch` with each sweep that searched, so that a report
knows the whole space and not only the configs that were tried.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from trainable.config import Config

PROTOCOL = {"protocol": "B"}
"""What every search fixes. Trials are compared on a held-out tenth of the train split; the test split is not used."""
OPTIONS = ("data", "epochs", "precision", "protocol")
"""Fields of `Config` that no search may set: the sweep's options or `PROTOCOL` decide them."""


class _Data(BaseModel):
    """Immutable data that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(_Data):
    """A parameter that takes one of the listed values."""

    choices: Annotated[tuple[bool | int | float | str, ...], Field(min_length=1)]

    @property
    def distribution(self) -> BaseDistribution:
        """The parameter as Optuna's distribution."""
        return CategoricalDistribution(self.choices)

    @property
    def largest(self) -> Any:
        """The last choice."""
        return self.choices[-1]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to validate: where `Config` allows these, it allows all of the parameter's values."""
        return self.choices

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices))


class Range(_Data):
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

    @property
    def largest(self) -> Any:
        """The upper bound."""
        return self.high

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to validate: where `Config` allows these, it allows all of the parameter's values."""
        return (self.low, self.high)

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
        """The epochs after which trials of `epochs` epochs are compared. The last epoch is not one of them."""
        rungs = [self.grace or max(1, epochs // self.reduction**2)]
        while rungs[-1] * self.reduction < epochs:
            rungs.append(rungs[-1] * self.reduction)
        return tuple(rungs)


class SearchDefinition(_Data):
    """A search as a study defines it."""

    space: Annotated[dict[str, Parameter], Field(min_length=1)]
    """The parameters, by the field of `Config` that each varies."""
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
        for name in (*self.space, *self.fixed):
            if name not in Config.model_fields:
                raise ValueError(f"{name}: unknown; allowed: {', '.join(Config.model_fields)}")
            if name in OPTIONS:
                raise ValueError(f"{name}: options of the sweep decide it, and a search runs on protocol B")
        if both := self.space.keys() & self.fixed.keys():
            raise ValueError(f"{min(both)}: it is fixed and searched; leave it out of one")
        for point in self.start:
            if unknown := point.values.keys() - self.space.keys():
                raise ValueError(f"start: {min(unknown)} is not in the space")
        return self


class ResolvedSearch(_Data):
    """A search as one sweep ran it. The record keeps it."""

    study: str
    title: str
    fingerprint: str
    """The fingerprint of the data."""
    base: Config
    """What every trial starts from: the baseline with the sweep's changes and the fields that the search fixes."""
    space: dict[str, Parameter]
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
        """The values that a config has for the parameters of the space."""
        return {name: getattr(config, name) for name in self.space}

    def covers(self, config: Config, fingerprint: str) -> bool:
        """Whether this search could try a config on the data with that fingerprint: the config differs from the base in
        parameters of the space only. Values are not checked against their ranges."""
        return fingerprint == self.fingerprint and config.change(**self.point(self.base)) == self.base

    def config(self, values: Mapping[str, Any]) -> Config:
        """The base with these values of parameters. Raises `pydantic.ValidationError` where they do not go together."""
        return self.base.change(**values)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna's distributions, by parameter."""
        return {name: parameter.distribution for name, parameter in self.space.items()}

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs after which ASHA compares trials. The last epoch is not one of them."""
        return self.scheduler.rungs(self.base.epochs)
