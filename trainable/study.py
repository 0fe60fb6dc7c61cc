"""Studies as data: tables of named configs with the results reported for them, and searches."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from trainable.change import Change, combine
from trainable.config import SET_BY_OPTIONS, Config
from trainable.frozen import Frozen, Label, Short
from trainable.measures import CORRECT_IMAGES, ERRORS, NamedMeasure
from trainable.search_definition import SearchDefinition
from trainable.value_text import value_text

MOST_SEEDS = 1_000
"""A config is trained for so many seeds at most."""
PARAMETERS_NUMBER = "1"
"""The number of the report's table of parameters, which no table of a study may have."""

Rate = Annotated[float, Field(ge=0, le=1, strict=True)]
"""A share from 0 to 1, and no percentage. Strict fields refuse true and false, as `Config` does."""
Count = Annotated[int, Field(ge=1, strict=True)]
"""A whole number from 1 on."""


class Reported(Frozen):
    """A published result of one training: the smallest error of any epoch, and that epoch, counted from 1."""

    train_error: Rate
    train_epoch: Count
    test_error: Rate
    test_epoch: Count


class Row(Frozen):
    """One row of a table: a named config."""

    name: Annotated[Label, Short]
    change: Change = Field(default_factory=dict)
    """The fields of `Config` in which it differs from the baseline."""
    reported: Reported | None = None
    """What was published for it."""


def _combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """A row for every combination of the values of these fields, named after those that have several; the last field
    changes from row to row."""
    named = [field for field, values in grid.items() if len(values) > 1] or list(grid)
    rows = []
    for values in product(*grid.values()):
        change = dict(zip(grid, values, strict=True))
        labels = [f"{_label(field)} " * (len(named) > 1) for field in named]
        texts = [label + value_text(change[field]) for label, field in zip(labels, named, strict=True)]
        rows.append({"name": ", ".join(texts), "change": change})
    return rows


def _label(field: str) -> str:
    """A field of a grid in the name of a row, as `network.width` where it is one argument."""
    return field.replace("_arguments[", ".").removesuffix("]").removesuffix("_arguments")


class Table(Frozen):
    """Configs that vary one thing."""

    number: Annotated[str, Field(pattern=r"^[0-9]+[a-z]*$")]
    title: Label
    slug: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
    """A short name; the names of its trials start with it. Default: made of the title."""
    varies: Label
    """What the rows vary: the heading of their column. Default: the title."""
    rows: tuple[Row, ...]
    """Those that are listed, and then those of the grid."""
    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(
        default_factory=dict, min_length=1, exclude=True
    )
    """Values of fields, or of single arguments of code of one's own, by name. Every combination of them is a row."""
    note: str = ""
    """Printed under the table."""
    reference: Change = Field(default_factory=dict)
    """The change from the baseline that the rows are compared with. Default: none, the baseline itself."""
    measure: NamedMeasure = ERRORS
    """What is measured of its trainings besides their errors."""
    seeds: int | None = Field(default=None, ge=1, le=MOST_SEEDS, strict=True)
    """Seeds of each row. Default: as many as the sweep asks for."""
    cpu_epochs: Count | None = None
    """Epochs on a CPU, for networks that are too large for the usual number there. `--epochs` overrides it."""

    @model_validator(mode="before")
    @classmethod
    def _named_by_title(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(title := given.get("title"), str):
            slug = re.sub(r"[^a-z0-9]+", "-", title.lower())[:60].strip("-") or f"table-{given.get('number')}"
            return {"slug": slug, "varies": title, **given}
        return given

    @model_validator(mode="before")
    @classmethod
    def _with_rows_of_grid(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "grid" not in given:
            return given
        grid, rows, lists = given["grid"], given.get("rows", ()), (list, tuple)
        is_whole = isinstance(grid, dict) and grid and all(isinstance(values, lists) for values in grid.values())
        if not is_whole or not isinstance(rows, lists):
            return {"rows": (), **given}
        return {**given, "rows": [*rows, *_combinations(grid)]}

    @property
    def rows_of_grid(self) -> int:
        """How many of the rows, the last ones, are those of the grid."""
        return prod(map(len, self.grid.values())) if self.grid else 0

    @field_validator("rows")
    @classmethod
    def _named_once(cls, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        name, count = Counter(row.name for row in rows).most_common(1)[0] if rows else ("", 0)
        if count > 1:
            raise ValueError(f"two rows have the name {name!r}")
        return rows


class Study(Frozen):
    """Tables, a search or both, which are planned and run together."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]
    """A study from a file may use at most 60 characters, so that `-calibration` can be added."""
    title: Label
    baseline: Change = Field(default_factory=dict)
    """The study's own baseline: the fields of `Config` in which it differs from the course report's. All changes that
    the study names are changes from it."""
    tables: tuple[Table, ...] = ()
    search: SearchDefinition | None = None

    @field_validator("baseline")
    @classmethod
    def _without_options(cls, baseline: dict[str, Any]) -> dict[str, Any]:
        if named := [name for name in SET_BY_OPTIONS if name in baseline]:
            raise ValueError(f"{named[0]}: the sweep's option --{named[0]} decides it")
        return baseline

    def changed_baseline(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of its baseline after a change, such as a sweep's."""
        return combine(self.baseline, change)

    @property
    def table_numbers(self) -> list[str]:
        """The numbers that its tables have, and those that the tables of its search will have."""
        searched = (
            [self.search.calibration_number, self.search.proof_number, self.search.differences_number]
            if self.search
            else []
        )
        return [table.number for table in self.tables] + searched

    @property
    def required_search(self) -> SearchDefinition:
        """Its search. Raises `ValueError` where it has none."""
        if self.search is None:
            raise ValueError(f"study {self.name} has no search")
        return self.search


@dataclass(frozen=True)
class StudyFile:
    """The name and the unchanged text of the file that a study was read from."""

    name: str
    text: str


class ResolvedRow(Frozen):
    """A row as one sweep ran it: with its full config and the config's key. The record keeps it."""

    name: str
    key: str
    config: Config
    reported: Reported | None = None


class ResolvedTable(Frozen):
    """A table as one sweep ran it. The record keeps it. Fields without a description are those of `Table`."""

    study: str
    number: str
    slug: str
    title: str
    varies: str
    rows: tuple[ResolvedRow, ...]
    note: str = ""
    reference: str = ""
    """The key of the config that the rows are compared with; empty where they are not compared."""
    measure: NamedMeasure = ERRORS
    seeds: Annotated[int, Field(ge=0)] = 0
    """How many seeds the sweep asked for in each row; 0 in a record of an earlier version, which does not say."""

    def row(self, name: str) -> ResolvedRow:
        """The row of that name. Raises `KeyError` where there is none."""
        return {row.name: row for row in self.rows}[name]

    @property
    def heading(self) -> str:
        """Its number and its title."""
        return f"Table {self.number}. {self.title}"

    @property
    def compares_errors(self) -> bool:
        """Whether its rows are there for their errors, which a report compares with those of the reference."""
        return self.measure in (ERRORS, CORRECT_IMAGES)
