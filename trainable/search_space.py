"""The space of a search: its parameters, each a choice or a range of one field of `Config`, some with a condition."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial
from pydantic import Discriminator, Field, Tag, model_validator

from trainable.frozen import Frozen


class _Parameter(Frozen):
    field: str = ""
    """The field of `Config` that the parameter sets. Default: the parameter's own name."""
    when: dict[str, tuple[bool | int | float | str, ...]] = Field(default_factory=dict)
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
