"""The files of an exported record, as they are checked before anything of them is used: they may come from anybody."""

import math
import posixpath
import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, NonNegativeInt, ValidationError, model_validator
from safetensors import SafetensorError, safe_open

from analysis.record.recorded import (
    ROLE,
    SEED_EPOCH_S,
    VAL_ERROR,
    WINNER_METRIC,
    Role,
    RunStatus,
    SweepRecord,
    TrialRecord,
)
from analysis.record.trial_tags import read_tags
from trainable.config import Config
from trainable.errors import first_line
from trainable.frozen import check_label
from trainable.problem import first_problem
from trainable.resolved_search import ResolvedSearch
from trainable.study import ResolvedTable, StudyFile

ORIGIN = "origin_run_id"
"""Tag of an imported run: the id that the run had where it was recorded. An import skips what is there already."""
LARGEST = 2**53
"""Steps and times are below it: every store and every reader of JSON has such whole numbers exactly."""
IN_FILE_NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
STUDY_FILE = re.compile(r"[^/\\#?%\x00-\x1f\x7f]*[^./\\#?%\x00-\x1f\x7f]")
TABLE_NUMBER = re.compile(r"[0-9]+[a-z]*")
FINITE = SEED_EPOCH_S
"""Metric that forecasts are made from."""


def first_id(run: SweepRecord | TrialRecord) -> str:
    """The id of a run where it was first recorded. An export has it, so that an imported record that is exported again
    writes the same files."""
    return run.tags.get(ORIGIN, run.run_id)


def _plain_path(name: str) -> str:
    if posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        raise ValueError("must be a plain name")
    return name


def _own(name: str) -> str:
    if name.startswith("mlflow."):
        raise ValueError("tags of MLflow's own are not exported")
    return name


Label = Annotated[str, Field(max_length=250, pattern=r"^[/\w.\- :]+$"), AfterValidator(_plain_path)]
"""What MLflow takes as the name of a metric, a parameter or a tag."""
TagValue = Annotated[str, Field(max_length=8000, pattern=r"^[^\x00]*$")]
ParamValue = Annotated[str, Field(max_length=6000, pattern=r"^[^\x00]*$")]
Tags = dict[Annotated[Label, AfterValidator(_own)], TagValue]
Name = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f]+$")]
RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
RunId = Annotated[str, Field(pattern=RUN_ID)]
Whole = Annotated[NonNegativeInt, Field(lt=LARGEST)]


def _check_own_tags(tags: dict[str, str], role: Role) -> None:
    if tags.get(ROLE) != role:
        raise ValueError(f"tags.{ROLE} {tags.get(ROLE)!r}: must be '{role}'")
    if not re.match(RUN_ID, tags.get(ORIGIN, "none")):
        raise ValueError(f"tags.{ORIGIN} {tags[ORIGIN]!r}: must be a run's id")


class TrialFile(BaseModel):
    """SWEEP/trials/NAME-KEY-seeds-0.json"""

    key: RunId
    name: Name
    config: Config
    seeds: Annotated[tuple[Whole, ...], Field(min_length=1)]
    status: Literal[RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED]
    sweep: RunId
    tags: Tags
    run_id: RunId
    start_time: Whole = 0
    metrics: dict[Label, list[tuple[Whole, float]]]
    """Every value of each metric, by ascending step."""

    def record(self) -> TrialRecord:
        """The trial as it was recorded."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        histories = fields.pop("metrics")
        last = {name: series[-1][1] for name, series in histories.items() if series}
        return TrialRecord(**fields, metrics=last, histories=histories)

    @model_validator(mode="after")
    def _whole(self) -> "TrialFile":
        """Refuse what would be read as another trial, or as more than there is."""
        if list(self.seeds) != sorted(set(self.seeds)):
            raise ValueError(f"seeds {self.seeds}: must ascend")
        _check_own_tags(self.tags, Role.TRIAL)
        tags = read_tags(self.tags)
        if (tags.key, tags.config, tags.seeds) != (self.key, self.config, self.seeds):
            raise ValueError("tags: key, config and seeds must be the trial's own")
        for name, series in self.metrics.items():
            steps = [step for step, _ in series]
            if steps != sorted(set(steps)):
                raise ValueError(f"metrics.{name}: steps must ascend")
        if not all(math.isfinite(value) for _, value in self.metrics.get(FINITE, ())):
            raise ValueError(f"metrics.{FINITE}: must be finite")
        record, error = self.record(), self.config.held_out
        if self.status == RunStatus.FINISHED and error == VAL_ERROR:  # searches read the mean over the seeds
            epochs = [step for step, _ in self.metrics.get(error, ())]
            last = self.config.epochs if record.complete else len(epochs)
            if not epochs or epochs != list(range(1, last + 1)):
                raise ValueError(f"metrics.{error}: must have every epoch of a finished trial")
        if tags.proven_seeds and WINNER_METRIC not in self.metrics:
            raise ValueError(f"metrics.{WINNER_METRIC}: must be there, because the tags say that the trial is proven")
        if record.missing_epochs:
            raise ValueError(f"metrics: {record.missing_epochs}")
        return self


class SweepFile(BaseModel):
    """SWEEP/sweep.json"""

    run_id: RunId
    name: Name
    start_time: Whole
    status: Literal[RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED, RunStatus.RUNNING]
    """A sweep that runs can be exported."""
    tags: Tags
    params: Annotated[dict[Label, ParamValue], Field(max_length=100)]
    tables: tuple[ResolvedTable, ...]
    searches: tuple[ResolvedSearch, ...] = ()
    study_file: StudyFile | None = None

    def record(self) -> SweepRecord:
        """The sweep as it was recorded."""
        return SweepRecord(**{name: getattr(self, name) for name in type(self).model_fields})

    @model_validator(mode="after")
    def _safe(self) -> "SweepFile":
        """Refuse names that would lead elsewhere where they become names of files."""
        _check_own_tags(self.tags, Role.SWEEP)
        for table in self.tables:
            if not table.rows:
                raise ValueError(f"table {table.number}: must have rows")
            if not TABLE_NUMBER.fullmatch(table.number):
                raise ValueError(f"table number {table.number!r}: must be digits, and letters after them")
            for text in (table.title, table.varies, *(row.name for row in table.rows)):
                check_label(text)
        for search in self.searches:
            check_label(search.title)
        names = [name for table in self.tables for name in (table.study, table.slug)]
        names += [name for search in self.searches for name in (search.study, search.winner)]
        if self.study_file and not STUDY_FILE.fullmatch(self.study_file.name):
            raise ValueError(f"study_file {self.study_file.name!r}: must be the name of a file")
        for name in names:
            if not IN_FILE_NAMES.fullmatch(name):
                raise ValueError(f"{name!r}: must be letters, digits, dots, hyphens and underscores")
        return self


Checked = TypeVar("Checked", TrialFile, SweepFile)


def read_checked(file: Path, form: type[Checked]) -> Checked:
    """Read a file of that form. Raises `ValueError` in one line: the file, the field, the value and what is allowed."""
    try:
        return form.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{file}: {first_problem(error)}") from error


def refuse_links(folder: Path) -> None:
    """Raise `ValueError` where a folder is or holds anything but folders and plain files: a link leads to what was
    never exported, and a pipe never ends."""
    left = [folder]
    while left:
        path = left.pop()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ValueError(f"{path}: must be a folder or a plain file")
        if path.is_dir():
            left += path.iterdir()


def damage(file: Path) -> str:
    """What is wrong with a file of arrays in one line; empty where nothing is. Its numbers are not read."""
    if not IN_FILE_NAMES.fullmatch(file.name) or file.suffix != ".safetensors":
        return "must be a file of arrays, NAME.safetensors"
    try:
        with safe_open(file, "np"):
            return ""
    except (SafetensorError, OSError) as error:
        return first_line(error)
