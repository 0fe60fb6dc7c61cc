"""The definition of a search as data: its space, what it fixes, where it starts and what stops its trials early.

A study holds a `SearchDefinition`. What a sweep makes of it is a `trainable.resolved_search.ResolvedSearch`.
"""

from itertools import product
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from trainable.change import Change
from trainable.config import SET_BY_OPTIONS, Config
from trainable.frozen import Frozen
from trainable.image_set import CIFAR10, SetName
from trainable.problem import unknown
from trainable.search_space import (
    Choice,
    Range,
    Space,
    Target,
    active,
    changed,
    config_fields,
    fields,
    searched,
    targets,
)
from trainable.value_text import value_text

PROTOCOL = {"protocol": "B"}
"""What every search fixes. Trials are compared on a held-out tenth of the train split; the test split is not used."""
DEFAULT_WINNER = "best_bn"
"""The name of the winner of the study `search`, and in records that do not name theirs."""
WINNER_ROW, COMPARED_ROW = "winner", "reference"
"""The names of the rows in a proof's table: the winner, and the config that it is compared with."""
NOT_SEARCHABLE = (*SET_BY_OPTIONS, "protocol")
"""Fields of `Config` that neither a search nor its `compared_with` may set: the sweep's options or the protocol decide
them."""


class StartPoint(Frozen):
    """A config that a search tries first."""

    values: dict[str, Any] = Field(default_factory=dict)
    """Values of the space's parameters. A parameter that is not named keeps the baseline's value."""
    source: str = ""
    """Where the suggestion comes from."""
    reference: bool = False
    """Whether the report and the UI show the validation error of this config's trial beside the winner's. The proof
    compares the winner with `compared_with`, whatever is set here."""


class Scheduler(Frozen):
    """Early stopping by ASHA (Li et al. 2020, arXiv 1810.05934, section 3): at each rung the best of the trials
    continue, one in `reduction`, and the others stop."""

    reduction: int = Field(default=3, ge=2)
    share: float = Field(default=0.25, gt=0, lt=1)
    """The first rung, as a share of the trial's epochs. In the calibration of the built-in search on CIFAR-10 the
    errors of averaged weights were in nearly their last order after a quarter of 20 epochs (Kendall's tau .94);
    earlier, and without the average, they were not."""
    grace: int | None = Field(default=None, ge=1, strict=True)
    """The first rung, in epochs, in place of `share`."""

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs after which trials of `epochs` epochs are compared: the first rung, and every `reduction`-fold of
        it below `epochs`."""
        rungs = [self.grace or max(1, int(epochs * self.share))]
        while rungs[-1] * self.reduction < epochs:
            rungs.append(rungs[-1] * self.reduction)
        return tuple(rungs)


class Race(Frozen):
    """What decides between the best configs of a search: each is trained for further seeds. See
    `analysis.statistics.race`."""

    candidates: int = Field(default=3, ge=1, strict=True)
    """How many configs race."""
    first_test: int = Field(default=3, ge=2)
    """Seeds that each of them is trained for before any is dropped."""
    seeds: int = Field(default=5, ge=2)
    """The most seeds that those which are not dropped are trained for."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """A config is dropped where the p value of its test against the leader is below this."""

    @model_validator(mode="after")
    def _ordered(self) -> "Race":
        if self.first_test > self.seeds:
            raise ValueError(f"first_test {self.first_test} must not be above seeds {self.seeds}")
        return self


class Goal(Frozen):
    """What the winner of a search is to reach: means over the seeds of its proof. The report says how far it is from
    them."""

    data: SetName = CIFAR10.name
    epochs: int = Field(default=20, ge=1, strict=True)
    """The goal is for winners that are trained on that data for so many epochs. No other winner is judged by it."""
    test_error: float = Field(gt=0, lt=1)
    test_error_with_flips: float | None = Field(default=None, gt=0, lt=1)
    """The test error with test-time flips, which is at most as high."""

    @model_validator(mode="after")
    def _flips_are_no_harder(self) -> "Goal":
        with_flips = self.test_error_with_flips
        if with_flips is not None and with_flips > self.test_error:
            raise ValueError(f"test_error_with_flips {with_flips} must not be above test_error {self.test_error}")
        return self

    def is_for(self, winner: Config) -> bool:
        """Whether that winner is judged by it."""
        return (winner.data.name, winner.epochs) == (self.data, self.epochs)


def _whole(number: Any) -> Any:
    """A number that is written as those of tables are, in quotes."""
    return int(number) if isinstance(number, str) and number.isdecimal() else number


class SearchDefinition(Frozen):
    """A search as a study defines it."""

    space: Annotated[Space, Field(min_length=1)]
    fixed: Change = Field(default_factory=dict)
    """Fields of `Config` that are the same in every trial, besides those that the sweep sets."""
    start: tuple[StartPoint, ...] = ()
    """Configs to try first, in this order."""
    epochs_factor: int = Field(default=1, ge=1, strict=True)
    """How many times the sweep's epochs its trials train for: a search with 5 trains for 100 epochs where a table's row
    trains for 20."""
    scheduler: Scheduler = Scheduler()
    race: Race = Race()
    compared_with: Change = Field(default_factory=dict)
    """The config that the winner is proven against, as its change from the baseline. It is trained on the sweep's data,
    for the sweep's epochs and in its precision. Default: the baseline itself."""
    goal: Goal | None = None
    number: Annotated[int, BeforeValidator(_whole), Field(ge=1, strict=True)] = 30
    """The number of its calibration's table. Its proof has the next number, and the table of what the winner's
    differences are worth the one after that."""
    winner: Annotated[str, Field(pattern=r"^[a-z0-9_]*$", max_length=70)] = ""
    """The name of the winner's files and registered model. Default: `best_` and the study's name."""

    @model_validator(mode="after")
    def _names_are_fields(self) -> "SearchDefinition":
        """Refuse a name that is no field of `Config`, that a search may not set, or that is both fixed and searched."""
        checked = (
            ("compared_with, ", tuple(self.compared_with), "a proof runs on protocol A"),
            ("", (*fields(self.space), *self.fixed), "a search runs on protocol B"),
        )
        for where, names, protocol in checked:
            for name in names:
                if name not in Config.model_fields:
                    raise ValueError(f"{where}{name} {unknown(name, list(Config.model_fields))}")
                if name in NOT_SEARCHABLE:
                    raise ValueError(f"{where}{name}: options of the sweep decide it, and {protocol}")
        if both := searched(self.space) & changed(self.fixed):
            raise ValueError(f"{min(each.field for each in both)}: it is fixed and searched; leave it out of one")
        return self

    @model_validator(mode="after")
    def _conditions_name_earlier_choices(self) -> "SearchDefinition":
        before: dict[str, Choice] = {}
        for name, parameter in self.space.items():
            for condition, values in parameter.when.items():
                if condition not in before or set(values) - set(before[condition].choices):
                    raise ValueError(
                        f"{name}: when {condition} is {', '.join(map(value_text, values))}: must be choices of a "
                        "parameter that stands before it"
                    )
            if isinstance(parameter, Choice):
                before[name] = parameter
        return self

    @model_validator(mode="after")
    def _one_parameter_sets_a_field(self) -> "SearchDefinition":
        """Refuse two parameters of one field that can exist at the same point."""
        for point in self._points_to_check():
            set_by: dict[Target, str] = {}
            for name, target in targets(self.space).items():
                if name in point and (other := set_by.setdefault(target, name)) != name:
                    raise ValueError(f"{name}: it sets the same as {other}, and nothing keeps them apart")
        return self

    @model_validator(mode="after")
    def _start_is_in_space(self) -> "SearchDefinition":
        for start in self.start:
            if missing := start.values.keys() - self.space.keys():
                raise ValueError(f"start: {min(missing)} is not in the space")
        return self

    def change(self, **fields: Any) -> "SearchDefinition":
        """A validated copy with some fields changed."""
        return type(self)(**(dict(self) | fields))

    @property
    def calibration_number(self) -> str:
        """The number of its calibration's table."""
        return str(self.number)

    @property
    def proof_number(self) -> str:
        """The number of its proof's table."""
        return str(self.number + 1)

    @property
    def differences_number(self) -> str:
        """The number of the table of what its winner's differences are worth."""
        return str(self.number + 2)

    def configs_to_check(self, base: Config) -> list[dict[str, Any]]:
        """Changes of `base` that show whether the parameters go together everywhere."""
        return [config_fields(self.space, point, base) for point in self._points_to_check()]

    def _points_to_check(self) -> list[dict[str, Any]]:
        """The values of the parameters that exist at some points of the space.

        For each combination of the values that conditions name, every other parameter has a value that is not the
        field's default, and then one parameter at a time takes each of its ends.
        """
        conditions = sorted({name for parameter in self.space.values() for name in parameter.when})
        unusual = {name: _unusual(self.space[name], target) for name, target in targets(self.space).items()}
        points: list[dict[str, Any]] = []
        for combination in product(*(self.space[name].ends for name in conditions)):
            point = unusual | dict(zip(conditions, combination, strict=True))
            free = [name for name in self.space if name not in conditions]
            points += [point, *({**point, name: end} for name in free for end in self.space[name].ends)]
        return [{name: point[name] for name in active(self.space, point)} for point in points]


def _unusual(parameter: Choice | Range, target: Target) -> Any:
    """A value of the parameter that is not the baseline's, where it has one: such a value shows idle fields."""
    default = target.read(Config())
    return next((end for end in reversed(parameter.ends) if end != default), parameter.ends[-1])


def calibration_name(study: str) -> str:
    """The name of the study that calibrates another study's search."""
    return f"{study}-calibration"


def proof_name(study: str) -> str:
    """The name of the study that proves the winner of another study's search. Its first table is the proof."""
    return f"{study}-proof"


def model_name(experiment: str, winner: str = DEFAULT_WINNER) -> str:
    """The name under which an experiment registers the model of a search's winner, which has that name."""
    return f"{experiment}-{winner.replace('_', '-')}"
