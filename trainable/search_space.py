"""The space of a search: its parameters, each a choice or a range of one field of `Config`, of one element of a field
that is a tuple, or of one argument of code of one's own, some with a condition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.study import create_study
from optuna.trial import Trial
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from trainable.config import Config
from trainable.frozen import Frozen
from trainable.own_code.code_file import ARGUMENT, ARGUMENTS, Arguments
from trainable.problem import unknown
from trainable.value_text import value_text


@dataclass(frozen=True)
class Target:
    """What a parameter sets: a field of `Config`, one element of it where it is a tuple, or one argument of code of
    one's own."""

    field: str
    index: int | None = None
    argument: str | None = None

    def read(self, config: Config) -> Any:
        """Its value in a config; None for an argument that the config does not have."""
        value = getattr(config, self.field)
        if self.argument is not None:
            return value.get(self.argument)
        return value if self.index is None else value[self.index]

    @property
    def param(self) -> str:
        """The name of what it sets in `Config.flat`, which has a tuple whole."""
        return self.field if self.argument is None else f"{self.field.removesuffix('_arguments')}.{self.argument}"

    @property
    def is_float(self) -> bool:
        """Whether it takes numbers that are not whole."""
        return isinstance(self.read(Config()), float)


TARGETS = {name: Target(name) for name in Config.model_fields if name not in ARGUMENTS.values()} | {
    f"{name}[{index}]": Target(name, index)
    for name, field in Config.model_fields.items()
    if isinstance(field.default, tuple)
    for index in range(len(field.default))
}
"""All that a parameter can set, by the name that a space gives it: `lr`, `channels[0]`. Arguments come on top."""


def _target(name: str) -> Target | None:
    """What has that name: one of `TARGETS`, or an argument, as `network_arguments[width]`; None where nothing has."""
    if argument := ARGUMENT.fullmatch(name):
        return Target(argument[1], argument=argument[2])
    return TARGETS.get(name)


class _Parameter(Frozen):
    field: str = ""
    """What the parameter sets, as `Target`s are named. Default: the parameter's own name."""
    when: dict[str, Annotated[tuple[bool | int | float | str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """The parameter exists only where each of these parameters, which stand before it, has one of these values."""

    @property
    def condition(self) -> str:
        """`when` as a person reads it; empty where the parameter always exists."""
        return " and ".join(
            f"where {name} is {' or '.join(map(value_text, values))}" for name, values in self.when.items()
        )


class Choice(_Parameter):
    """A parameter that takes one of the listed values."""

    choices: Annotated[tuple[bool | int | float | str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> "Choice":
        if len(set(self.choices)) < len(self.choices):
            raise ValueError(f"choices {', '.join(map(value_text, self.choices))} must differ from each other")
        return self

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
        return ", ".join(map(value_text, self.choices))


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)] | Annotated[int, Field(strict=True)]
"""A finite number, and neither true nor false. A whole one stays an int."""


class Range(_Parameter):
    """A parameter that takes a number between two bounds, both included: a whole number where both bounds are whole,
    but see `Space`."""

    low: Number
    high: Number
    log: bool = False
    """Whether it is sampled on a logarithmic scale."""
    step: Annotated[int, Field(ge=1, strict=True)] = 1
    """How far apart whole numbers are, from `low` on."""

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"low {self.low} must not be above high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} must be above 0 on a logarithmic scale")
        if self.step > 1 and (self.log or not self.whole or (self.high - self.low) % self.step):
            raise ValueError(f"step {self.step} must lead from low {self.low} to high {self.high}, without log")
        return self

    @property
    def whole(self) -> bool:
        """Whether it takes whole numbers alone."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def distribution(self) -> BaseDistribution:
        """The parameter as Optuna's distribution."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=self.step)
        return FloatDistribution(self.low, self.high, log=self.log)

    def suggest(self, trial: Trial, name: str) -> Any:
        """The value that an Optuna trial chooses."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log, step=self.step)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to validate: where `Config` allows these, it allows all of the parameter's values."""
        if self.whole:
            return (self.low, self.high)
        between = self.low + (self.high - self.low) / 2**0.5  # not whole: a field of whole numbers refuses the range
        return (between, self.low, self.high)

    @property
    def values(self) -> Sequence[Any] | None:
        """All values; None where they cannot be counted."""
        if self.whole:
            return range(int(self.low), int(self.high) + 1, self.step)
        return (self.low,) if self.low == self.high else None

    def contains(self, value: Any) -> bool:
        """Whether the parameter can take the value."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return not self.whole or (value - self.low) % self.step == 0

    @property
    def continuous(self) -> "Range":
        """The same bounds, between which it takes every number."""
        return self.model_copy(update={"low": float(self.low), "high": float(self.high)})

    def __str__(self) -> str:
        in_steps = f", in steps of {self.step}" if self.step > 1 else ""
        return f"{self.low:g} to {self.high:g}" + (", logarithmic" if self.log else in_steps)


def _kind(value: Any) -> str:
    return "Choice" if isinstance(value, Choice) or (isinstance(value, Mapping) and "choices" in value) else "Range"


Parameter = Annotated[Annotated[Choice, Tag("Choice")] | Annotated[Range, Tag("Range")], Discriminator(_kind)]
"""How a search varies one field of `Config`."""


def _without_slash(name: str) -> str:
    if "/" in name:
        raise ValueError(f"{name!r} must have no slash")
    return name


def _continuous_on_floats(space: dict[str, Choice | Range]) -> dict[str, Choice | Range]:
    adapted = dict(space)
    for name, parameter in space.items():
        target = _target(parameter.field or name)
        if isinstance(parameter, Range) and target is not None and target.is_float:
            if parameter.step > 1:
                raise ValueError(f"{name}: step {parameter.step} is for whole numbers alone; name choices")
            adapted[name] = parameter.continuous
    return adapted


Space = Annotated[
    dict[Annotated[str, AfterValidator(_without_slash)], Parameter], AfterValidator(_continuous_on_floats)
]
"""The parameters of a search by their names, in an order in which conditions come first. Optuna's adapter for Tune
takes a slash in a name for a level. Where the field is a float, a range takes every number between its bounds, whatever
the bounds are."""


def targets(space: Space) -> dict[str, Target]:
    """What each parameter of the space sets. Raises `ValueError` for a name that nothing has."""
    found: dict[str, Target] = {}
    for name, parameter in space.items():
        target = _target(sets := parameter.field or name)
        if target is None:
            raise ValueError(f"{sets} {unknown(sets, [*TARGETS, *(f'{each}[NAME]' for each in ARGUMENTS.values())])}")
        found[name] = target
    return found


def fields(space: Space) -> set[str]:
    """The fields of `Config` that the space's parameters set, in whole or in part."""
    return {target.field for target in targets(space).values()}


def searched(space: Space) -> set[Target]:
    """What the space's parameters set; of a tuple the whole, even where they set elements of it."""
    return {replace(target, index=None) for target in targets(space).values()}


def changed(change: Mapping[str, Any]) -> set[Target]:
    """What a change of a config sets: fields, and single arguments of code of one's own."""
    arguments = {Target(each, argument=name) for each in ARGUMENTS.values() for name in change.get(each, ())}
    return arguments | {Target(name) for name in change.keys() - set(ARGUMENTS.values())}


def config_fields(space: Space, values: Mapping[str, Any], base: Config) -> dict[str, Any]:
    """The fields of `Config` that these values of parameters set. The other elements of a tuple, and the other
    arguments of code of one's own, are the base's."""
    changed: dict[str, Any] = {}
    set_by = targets(space)
    for name, value in values.items():
        target = set_by[name]
        before = changed.get(target.field, getattr(base, target.field))
        if target.argument is not None:
            changed[target.field] = before | {target.argument: value}
        elif target.index is not None:
            changed[target.field] = (*before[: target.index], value, *before[target.index + 1 :])
        else:
            changed[target.field] = value
    for field, arguments in ARGUMENTS.items():
        if field in changed and getattr(base, arguments):
            changed.setdefault(arguments, Arguments())  # another network, loss, ... starts without any
    return changed


def suggest(space: Space, trial: Trial) -> dict[str, Any]:
    """Let an Optuna trial choose the value of every parameter that exists at the values of those before it."""
    values: dict[str, Any] = {}
    for name, parameter in space.items():
        if name in active(space, values):
            values[name] = parameter.suggest(trial, name)
    return values


def sample(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """Random values of the parameters, `count` times. The first of them are the same for every count."""
    study = create_study(sampler=RandomSampler(seed=seed))
    return [suggest(space, study.ask()) for _ in range(count)]


def active(space: Space, values: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters that exist at these values of the others."""
    chosen: Space = {}
    for name, parameter in space.items():
        if all(other in chosen and values.get(other) in allowed for other, allowed in parameter.when.items()):
            chosen[name] = parameter
    return chosen
