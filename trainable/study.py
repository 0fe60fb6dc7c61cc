"""What a study is: named configs with their place in a table and, where there is one, the reported figure."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from trainable.config import Config
from trainable.measures import MEASURES, Measure, MeasureName
from trainable.search_space import SearchDefinition


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reported(_Data):
    """A printed result: the minimum error over the epochs and the 1-based epoch it occurs at, of one run."""

    train_error: float
    train_epoch: int
    test_error: float
    test_epoch: int


class Row(_Data):
    """One line of a table: a name, what it changes in the baseline config, and what was reported for it."""

    name: str
    change: dict[str, Any] = {}
    reported: Reported | None = None


class Table(_Data):
    """Rows that vary one thing. `slug` is the first half of its trials' names; `note` is printed under the table.

    `reference` is the change from the baseline that its rows are compared with, where it is not the baseline itself.
    `measure` names what is measured of its trainings beside their errors, one of `trainable.measures.MEASURES`.
    `cpu_epochs` is how many epochs its trainings take on a CPU, where the networks are too large for one and
    `--epochs` does not say otherwise.
    """

    number: Annotated[str, Field(pattern=r"^[0-9]+[a-z]*$")]
    slug: str
    title: str
    varies: str
    rows: tuple[Row, ...]
    note: str = ""
    reference: dict[str, Any] = {}
    measure: MeasureName = ""
    cpu_epochs: int | None = None


class Study(_Data):
    """Tables, a search, or both, that are planned and run together."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    title: str
    tables: tuple[Table, ...] = ()
    search: SearchDefinition | None = None


@dataclass(frozen=True)
class StudyFile:
    """The file that a study was read from, as it was."""

    name: str
    text: str


class ResolvedRow(_Data):
    """A row with the config that it means in one sweep and that config's key: what the record keeps of a study."""

    name: str
    key: str
    config: Config
    reported: Reported | None = None


class ResolvedTable(_Data):
    """A table of a study with its rows' keys. `reference` is the key of the config that its rows are compared with;
    empty where they are not."""

    study: str
    number: str
    slug: str
    title: str
    varies: str
    rows: tuple[ResolvedRow, ...]
    note: str = ""
    reference: str = ""
    measure: MeasureName = ""

    @property
    def measures(self) -> Measure:
        """What is measured of its trainings, beside their errors."""
        return MEASURES[self.measure]
