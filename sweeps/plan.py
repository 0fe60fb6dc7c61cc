"""The plan: the distinct trials of the chosen studies, minus what the record has. Pure: no Ray, no torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from sweeps.errors import UsageError, first_error
from sweeps.forecast import PROBED, Forecaster, makespan
from trainable.config import Config
from trainable.study import PlacedRow, PlacedTable, Study


@dataclass(frozen=True)
class PlannedTrial:
    """A distinct config of the plan: its identity, what is left of it and the rows it serves."""

    key: str
    name: str
    config: Config
    seeds: tuple[int, ...]
    """Still to run; empty where the record has them all."""
    recorded_seeds: tuple[int, ...]
    rows: tuple[str, ...]
    """Where it stands, as `table/row`."""
    forecast_s: float
    """Slot seconds of the seeds still to run."""
    tables: tuple[PlacedTable, ...] = ()

    @property
    def probed(self) -> bool:
        """Whether the loss is to be probed along the gradient."""
        return any(table.measure == "probe" for table in self.tables)


@dataclass(frozen=True)
class Plan:
    """What a sweep of these studies has to do."""

    tables: tuple[PlacedTable, ...]
    trials: tuple[PlannedTrial, ...]
    slots: int
    """Trials that run at the same time."""

    @property
    def to_run(self) -> list[PlannedTrial]:
        """The trials with seeds to run, longest first, so that the last ones to end are short."""
        return sorted((t for t in self.trials if t.seeds), key=lambda trial: -trial.forecast_s)

    @property
    def wall_s(self) -> float:
        """Forecast seconds from start to end on the slots."""
        return makespan((trial.forecast_s for trial in self.to_run), self.slots)

    def summary(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "rows": sum(len(table.rows) for table in self.tables),
            "distinct": len(self.trials),
            "recorded": len(self.trials) - len(self.to_run),
            "to_run": len(self.to_run),
            "slots": self.slots,
            "forecast_s": round(self.wall_s, 1),
            "trials": [
                {
                    "key": trial.key,
                    "name": trial.name,
                    "config": trial.config.model_dump(mode="json"),
                    "seeds": list(trial.seeds),
                    "recorded_seeds": list(trial.recorded_seeds),
                    "rows": list(trial.rows),
                    "forecast_s": round(trial.forecast_s, 1),
                }
                for trial in self.trials
            ],
        }


def make_plan(
    studies: Sequence[Study],
    *,
    base: Mapping[str, Any],
    fingerprint: str,
    seeds: int,
    recorded: Mapping[str, set[int]],
    forecaster: Forecaster,
    slots: int = 1,
    only: Iterable[str] = (),
    probed: Mapping[str, set[int]] = MappingProxyType({}),
    short: bool = False,
) -> Plan:
    """Plan `seeds` seeds (0, 1, ...) of every row of the studies, or of the tables numbered in `only`.

    `base` is what the sweep changes in every config (data, epochs, ...); `recorded` maps keys to the seeds that the
    record has, `probed` to those whose trainings were probed: a table that needs probes runs the others again, to the
    same errors. `short` lets tables take their `cpu_epochs`. Raises `UsageError` for a row whose config is not valid.
    """
    chosen = set(only)
    tables = tuple(
        place(
            study.name, table, {**base, "epochs": table.cpu_epochs} if short and table.cpu_epochs else base, fingerprint
        )
        for study in studies
        for table in study.tables
        if not chosen or table.number in chosen
    )
    placed: dict[str, list[tuple[PlacedTable, PlacedRow]]] = {}
    for table in tables:
        for row in table.rows:
            placed.setdefault(row.key, []).append((table, row))
    trials = []
    baseline = config_of({}, base, "the baseline").key(fingerprint)
    for key, places in placed.items():
        table, row = places[0]
        known = probed if any(table.measure == "probe" for table, _ in places) else recorded
        done = known.get(key, set()) & set(range(seeds))
        missing = tuple(sorted(set(range(seeds)) - done))
        trials.append(
            PlannedTrial(
                key=key,
                name="baseline" if key == baseline else f"{table.slug}-{row.name}",
                config=row.config,
                seeds=missing,
                recorded_seeds=tuple(sorted(done)),
                rows=tuple(f"{table.number}/{row.name}" for table, row in places),
                forecast_s=forecaster.seconds(row.config, len(missing)) * (PROBED if known is probed else 1),
                tables=tuple(table for table, _ in places),
            )
        )
    return Plan(tables=tables, trials=tuple(trials), slots=slots)


def place(study: str, table: Any, base: Mapping[str, Any], fingerprint: str) -> PlacedTable:
    """A table with its rows' configs and keys."""
    rows = []
    for row in table.rows:
        config = config_of(row.change, base, f"table {table.number}, row {row.name}")
        rows.append(PlacedRow(name=row.name, key=config.key(fingerprint), config=config, reported=row.reported))
    return PlacedTable(study=study, rows=tuple(rows), **table.model_dump(exclude={"rows", "cpu_epochs"}))


def config_of(change: Mapping[str, Any], base: Mapping[str, Any], where: str) -> Config:
    """The baseline with the sweep's changes and then the row's."""
    try:
        return Config(**{**base, **change})
    except ValidationError as error:
        raise UsageError(f"{where}: {first_error(error)}") from error
