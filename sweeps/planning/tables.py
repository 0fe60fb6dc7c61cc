"""The plan: the distinct configs of the chosen studies, minus what the record has. Pure: no Ray, no torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sweeps.errors import UsageError, first_error
from sweeps.forecast import PROBE_COST, Forecaster, makespan
from trainable.config import Config
from trainable.study import Measure, ResolvedRow, ResolvedTable, Study


@dataclass(frozen=True)
class PlannedConfig:
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
    tables: tuple[ResolvedTable, ...] = ()
    fused: bool = True
    """Whether the seeds train as one program, or apart: then each is a trial of its own."""

    @property
    def probed(self) -> bool:
        """Whether the loss is to be probed along the gradient."""
        return any(table.measure == "probe" for table in self.tables)

    @property
    def trials(self) -> list[tuple[int, ...]]:
        """The seeds of each trial that is left."""
        if self.fused:
            return [self.seeds] if self.seeds else []
        return [(seed,) for seed in self.seeds]

    @property
    def trial_s(self) -> float:
        """Forecast slot seconds of one of its trials."""
        return self.forecast_s / max(len(self.trials), 1)


@dataclass(frozen=True)
class Plan:
    """What a sweep of these studies has to do."""

    tables: tuple[ResolvedTable, ...]
    configs: tuple[PlannedConfig, ...]
    slots: int
    """Trials that run at the same time."""

    @property
    def to_run(self) -> list[PlannedConfig]:
        """The configs with seeds to run, those of the longest trials first, so that the last ones to end are short."""
        return sorted((config for config in self.configs if config.seeds), key=lambda config: -config.trial_s)

    @property
    def wall_s(self) -> float:
        """Forecast seconds from start to end on the slots."""
        return makespan((config.trial_s for config in self.to_run for _ in config.trials), self.slots)

    def summary(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "rows": sum(len(table.rows) for table in self.tables),
            "distinct": len(self.configs),
            "recorded": len(self.configs) - len(self.to_run),
            "to_run": sum(len(config.trials) for config in self.to_run),
            "slots": self.slots,
            "forecast_s": round(self.wall_s, 1),
            "configs": [
                {
                    "key": config.key,
                    "name": config.name,
                    "config": config.config.model_dump(mode="json"),
                    "seeds": list(config.seeds),
                    "recorded_seeds": list(config.recorded_seeds),
                    "trials": len(config.trials),
                    "rows": list(config.rows),
                    "forecast_s": round(config.forecast_s, 1),
                }
                for config in self.configs
            ],
        }


def make_plan(
    studies: Sequence[Study],
    *,
    base: Mapping[str, Any],
    fingerprint: str,
    seeds: int,
    recorded: Mapping[Measure, Mapping[str, set[int]]],
    forecaster: Forecaster,
    slots: int = 1,
    only: Iterable[str] = (),
    short: bool = False,
    fused: bool = True,
) -> Plan:
    """Plan `seeds` seeds (0, 1, ...) of every row of the studies, or of the tables numbered in `only`.

    `base` is what the sweep changes in every config (data, epochs, ...). `recorded` maps, for each measure, keys to the
    seeds that the record has with what is measured: a table runs the others again, to the same errors. `short` lets
    tables take their `cpu_epochs`; `fused` trains a config's seeds as one program. Raises `UsageError` for a row whose
    config is not valid.
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
    placed: dict[str, list[tuple[ResolvedTable, ResolvedRow]]] = {}
    for table in tables:
        for row in table.rows:
            placed.setdefault(row.key, []).append((table, row))
    configs = []
    baseline = config_of({}, base, "the baseline").key(fingerprint)
    for key, places in placed.items():
        table, row = places[0]
        measures = {table.measure for table, _ in places}
        done = set(range(seeds)).intersection(*(recorded.get(each, {}).get(key, set()) for each in measures))
        missing = tuple(sorted(set(range(seeds)) - done))
        configs.append(
            PlannedConfig(
                key=key,
                name="baseline" if key == baseline else f"{table.slug}-{row.name}",
                config=row.config,
                seeds=missing,
                recorded_seeds=tuple(sorted(done)),
                rows=tuple(f"{table.number}/{row.name}" for table, row in places),
                forecast_s=forecaster.seconds(row.config, len(missing)) * (PROBE_COST if "probe" in measures else 1),
                tables=tuple(table for table, _ in places),
                fused=fused,
            )
        )
    return Plan(tables=tables, configs=tuple(configs), slots=slots)


def place(study: str, table: Any, base: Mapping[str, Any], fingerprint: str) -> ResolvedTable:
    """A table with its rows' configs and keys."""
    rows = []
    for row in table.rows:
        config = config_of(row.change, base, f"table {table.number}, row {row.name}")
        rows.append(ResolvedRow(name=row.name, key=config.key(fingerprint), config=config, reported=row.reported))
    reference = config_of(table.reference, base, f"table {table.number}, its reference").key(fingerprint)
    same = table.model_dump(exclude={"rows", "reference", "cpu_epochs"})
    return ResolvedTable(study=study, rows=tuple(rows), reference=reference, **same)


def config_of(change: Mapping[str, Any], base: Mapping[str, Any], where: str) -> Config:
    """The baseline with the sweep's changes and then the row's."""
    try:
        return Config(**{**base, **change})
    except ValidationError as error:
        raise UsageError(f"{where}: {first_error(error)}") from error
