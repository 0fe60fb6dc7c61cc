"""What a study is: named configs with their place in a table and, where there is one, the reported figure."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainable.config import Config

Measure = Literal["", "losses", "probe", "surface"]


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
    `measure` names what is measured of its trainings beside their errors: `losses` the loss of every mini-batch,
    `probe` the smoothness of the loss along the gradient, `surface` the loss around the trained weights. `cpu_epochs`
    are the epochs where trials run on a CPU and none were asked for: the networks are too large for it.
    """

    number: Annotated[str, Field(pattern=r"^[0-9]+[a-z]*$")]
    slug: str
    title: str
    varies: str
    rows: tuple[Row, ...]
    note: str = ""
    reference: dict[str, Any] = {}
    measure: Measure = ""
    cpu_epochs: int | None = None


class Study(_Data):
    """Tables that are planned and run together."""

    name: str
    title: str
    tables: tuple[Table, ...]


class PlacedRow(_Data):
    """A row with the config that it means in one sweep and that config's key: what the record keeps of a study."""

    name: str
    key: str
    config: Config
    reported: Reported | None = None


class PlacedTable(_Data):
    """A table of a study with its rows' keys. `reference` is the key of the config that its rows are compared with;
    empty where they are not."""

    study: str
    number: str
    slug: str
    title: str
    varies: str
    rows: tuple[PlacedRow, ...]
    note: str = ""
    reference: str = ""
    measure: Measure = ""
