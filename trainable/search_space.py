"""What a search is: the space that it samples, what it fixes, where it starts and what stops its trials. Data alone.

The record keeps a `ResolvedSearch` on the run of each sweep that searched, so that a report knows the whole space and
not only what was tried.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from trainable.config import Config

PROTOCOL = {"protocol": "B"}
"""What every search fixes: a held-out tenth of the train split decides, and the test split is left alone."""
OPTIONS = ("data", "epochs", "precision", "protocol")
"""Fields of `Config` that no search may hold: options of the sweep decide them, or `PROTOCOL`."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(_Data):
    """One of some values."""

    choices: Annotated[tuple[bool | int | float | str, ...], Field(min_length=1)]

    @property
    def distribution(self) -> BaseDistribution:
        """Optuna's form."""
        return CategoricalDistribution(self.choices)

    @property
    def largest(self) -> Any:
        """The last choice."""
        return self.choices[-1]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to check: where these are allowed, all are."""
        return self.choices

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices))


class Range(_Data):
    """A number between two, both included; a whole number where both bounds are whole."""

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
        """Optuna's form."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    @property
    def largest(self) -> Any:
        """The upper bound."""
        return self.high

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to check: where these are allowed, all are."""
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", logarithmic" if self.log else "")


def _kind(value: Any) -> str:
    return "Choice" if isinstance(value, Choice) or (isinstance(value, Mapping) and "choices" in value) else "Range"


Parameter = Annotated[Annotated[Choice, Tag("Choice")] | Annotated[Range, Tag("Range")], Discriminator(_kind)]
"""What a search may do with one field of `Config`."""


class StartPoint(_Data):
    """A config that a search tries first: `values` of the space's parameters. A parameter that is not named keeps the
    baseline's value."""

    values: dict[str, Any] = {}
    source: str = ""
    """Who says that it is worth a try."""
    reference: bool = False
    """Whether it is what the winner is compared with on the same terms: the report's own config."""


class Scheduler(_Data):
    """ASHA (Li et al. 2020, arXiv 1810.05934, section 3): at each rung one trial in `reduction` goes on."""

    reduction: int = Field(default=3, ge=2)
    grace: int | None = Field(default=None, ge=1)
    """The first rung, in epochs. Where it is not given: late enough for two more rungs to follow."""

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs after which trials of so many epochs are compared, the last epoch left out."""
        rungs = [self.grace or max(1, epochs // self.reduction**2)]
        while rungs[-1] * self.reduction < epochs:
            rungs.append(rungs[-1] * self.reduction)
        return tuple(rungs)


class SearchDefinition(_Data):
    """A search as a study holds it."""

    space: Annotated[dict[str, Parameter], Field(min_length=1)]
    """Parameters by the field of `Config` that each one varies."""
    fixed: dict[str, Any] = {}
    """Fields of `Config` that every trial shares, beside what the sweep changes."""
    start: tuple[StartPoint, ...] = ()
    scheduler: Scheduler = Scheduler()
    winner: Annotated[str, Field(pattern=r"^[a-z0-9_]*$")] = ""
    """Names the winner's files and registered model. Default: `best_` and the study's name."""

    @model_validator(mode="after")
    def _fields_exist(self) -> "SearchDefinition":
        """Raises where a name is no field of `Config`, is decided elsewhere, or is both fixed and searched."""
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
    """A search as a sweep ran it: what the record keeps of it."""

    study: str
    title: str
    fingerprint: str
    """The data's."""
    base: Config
    """What every trial shares: the baseline with the sweep's changes and what the search fixes."""
    space: dict[str, Parameter]
    start: tuple[StartPoint, ...] = ()
    scheduler: Scheduler
    sampler: str
    """What suggests configs, for the reader."""
    seeds: tuple[int, ...]
    """Each config is trained for these."""
    samples: int
    """Configs to try, recorded ones included."""
    winner: str = "best_bn"
    """Names the winner's files and registered model."""

    def point(self, config: Config) -> dict[str, Any]:
        """A config's values of the space's parameters."""
        return {name: getattr(config, name) for name in self.space}

    def covers(self, config: Config, fingerprint: str) -> bool:
        """Whether a config on the data with that fingerprint is one of this search: it differs from the base in the
        space's parameters alone."""
        return fingerprint == self.fingerprint and config.change(**self.point(self.base)) == self.base

    def config(self, values: Mapping[str, Any]) -> Config:
        """The base with values of parameters. Raises `pydantic.ValidationError` where they do not go together."""
        return self.base.change(**values)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space in Optuna's form."""
        return {name: parameter.distribution for name, parameter in self.space.items()}

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs after which ASHA compares trials, the last epoch left out."""
        return self.scheduler.rungs(self.base.epochs)
