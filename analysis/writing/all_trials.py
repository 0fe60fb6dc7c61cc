"""Every trial and seed of a record as one table of plain values."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.costs import outcome
from analysis.record.recorded import DEVICE, DEVICE_NAME, Series, SweepRecord, TrialRecord
from analysis.searches import training_seconds
from analysis.writing.csv_file import write_csv
from trainable.config import Config
from trainable.study import ResolvedTable

EVERYTHING = "everything.csv"
ERRORS = ("train error", "held-out error")
HEADER = (
    "trial", "sweep", "outcome", "study", "table", "row", "key", *Config.model_fields, "seed",
    *(f"{error}, {what}" for error in ERRORS for what in ("last", "best", "epoch of the best")),
    "epochs trained", "trial's seconds", "host", "device", "device name",
)  # fmt: skip


def write_everything(
    tables: Sequence[ResolvedTable], trials: Iterable[TrialRecord], sweeps: Sequence[SweepRecord], file: Path
) -> Path:
    """Write a line for each seed of each trial, whose histories must be read. Returns `file`.

    A trial of several tables has all of their numbers and its rows' names in these, joined by semicolons. The seconds
    are those of all seeds of a trial together. What is not recorded is empty.
    """
    names = {sweep.run_id: sweep.name for sweep in sweeps}
    places: dict[str, list[tuple[str, str]]] = {}
    for table in tables:
        for row in table.rows:
            places.setdefault(row.key, []).append((table.number, row.name))
    lines = [line for trial in trials for line in _lines(trial, names, places.get(trial.key, ()))]
    write_csv(file, HEADER, lines)
    return file


def _lines(trial: TrialRecord, sweeps: Mapping[str, str], places: Sequence[tuple[str, str]]) -> Iterable[tuple]:
    numbers, rows = ("; ".join(each) for each in zip(*places, strict=True)) if places else ("", "")
    config = [_plain(getattr(trial.config, name)) for name in Config.model_fields]
    first = (trial.name, sweeps.get(trial.sweep, ""), outcome(trial), ", ".join(trial.studies), numbers, rows)
    seconds = training_seconds(trial)
    environment = [trial.tags.get(tag, "") for tag in ("host", DEVICE, DEVICE_NAME)]
    train, held_out = (trial.by_seed(metric) for metric in ("train_error", trial.config.held_out))
    for seed in trial.seeds:
        errors = (*_errors(train[seed]), *_errors(held_out[seed]))
        yield (*first, trial.key, *config, seed, *errors, len(train[seed]), seconds, *environment)


def _errors(series: Series) -> tuple[float | None, float | None, int | None]:
    """The last value, the smallest and its epoch; nothing where no epoch is recorded."""
    if not series:
        return None, None, None
    epoch, best = min(series, key=lambda point: (point[1], point[0]))
    return series[-1][1], best, epoch


def _plain(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else value
