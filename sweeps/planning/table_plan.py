"""What the tables of the chosen studies need: their distinct configs, minus what the record has. No Ray, and torch only
to try code of one's own."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from sweeps.errors import config_problem
from sweeps.planning.rates import Rates, makespan
from trainable.change import combine
from trainable.config import Config
from trainable.errors import UsageError
from trainable.files import PREDICTIONS, TRACES
from trainable.image_set import image_set
from trainable.measures import DIFFERENCES, LOSS_SURFACE, LOSSES, PROBE, Measure
from trainable.study import ResolvedRow, ResolvedTable, Study, Table

IMPOSSIBLE = {LOSSES: ("training",), PROBE: ("training",), LOSS_SURFACE: ("training", "loss")}
"""Measures that know nothing of these fields where they are files of the user's own."""


@dataclass(frozen=True)
class PlannedConfig:
    """A distinct config of the plan: its identity, the rows that it serves and what is left of it."""

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
    """Whether the seeds train as one program. Else each seed is a trial of its own."""

    @property
    def probe_every(self) -> int | None:
        """Steps between probes along the gradient; None where no table asks for probes."""
        return next((table.measure.probe_every for table in self.tables if table.measure.probe_every), None)

    @property
    def predictions(self) -> bool:
        """Whether a table asks for what its trainings predict."""
        return any(PREDICTIONS in table.measure.files for table in self.tables)

    @property
    def is_difference(self) -> bool:
        """Whether it only says what a difference of a search's winner is worth."""
        return {table.measure for table in self.tables} == {DIFFERENCES}

    @property
    def claims(self) -> dict[int, str]:
        """The names under which a sweep claims the trainings that are left, by seed."""
        return {seed: f"{self.key}/{seed}" for seed in self.seeds}

    def limited_to(self, claims: Collection[str]) -> "PlannedConfig":
        """The same with those seeds only that were claimed."""
        seeds = tuple(seed for seed, claim in self.claims.items() if claim in claims)
        share = len(seeds) / len(self.seeds) if self.seeds else 0.0
        return replace(self, seeds=seeds, forecast_s=self.forecast_s * share)

    @property
    def trial_seeds(self) -> list[tuple[int, ...]]:
        """The seeds of each trial that is left."""
        if self.fused:
            return [self.seeds] if self.seeds else []
        return [(seed,) for seed in self.seeds]

    @property
    def trial_s(self) -> float:
        """Forecast slot seconds of one of its trials."""
        return self.forecast_s / max(len(self.trial_seeds), 1)


@dataclass(frozen=True)
class TablePlan:
    """The tables of a sweep, and what the record lacks of them."""

    tables: tuple[ResolvedTable, ...]
    configs: tuple[PlannedConfig, ...]

    @property
    def to_run(self) -> list[PlannedConfig]:
        """The configs with seeds to run, those of the longest trials first, so that the last ones to end are short."""
        return sorted((config for config in self.configs if config.seeds), key=lambda config: -config.trial_s)

    @property
    def without_differences(self) -> "TablePlan":
        """The same without what only explains a search's winner: it is trained when the winner is recorded."""
        return replace(self, configs=tuple(config for config in self.configs if not config.is_difference))

    @property
    def slot_s(self) -> float:
        """Forecast slot seconds of all that is to run."""
        return sum(config.forecast_s for config in self.to_run)

    @property
    def claims(self) -> list[str]:
        """The names under which a sweep claims what is to run."""
        return [claim for config in self.to_run for claim in config.claims.values()]

    def limited_to(self, claims: Collection[str]) -> "TablePlan":
        """The same with those trainings only that were claimed."""
        return replace(self, configs=tuple(config.limited_to(claims) for config in self.configs))

    def wall_s(self, slots: int) -> float:
        """Forecast seconds from start to end on that many slots."""
        return makespan((config.trial_s for config in self.to_run for _ in config.trial_seeds), slots)


def plan_tables(
    studies: Sequence[Study],
    *,
    base: Mapping[str, Any],
    fingerprint: str,
    seeds: int,
    recorded: Mapping[Measure, Mapping[str, set[int]]],
    rates: Rates,
    only: Iterable[str] = (),
    short: bool = False,
) -> TablePlan:
    """Plan `seeds` seeds (0, 1, ...) of every row of the studies, or of the tables numbered in `only`. A table may ask
    for its own number of seeds.

    `base` is what the sweep changes in every config (data, epochs, ...). `recorded` maps a measure and a key to the
    seeds whose training the record has with what is measured; where it has only the errors, the seed runs again.
    `short` lets tables take their `cpu_epochs`. Raises `UsageError` for a row whose config is not valid, and for one
    that is to be trained and whose code of one's own cannot be used.
    """
    chosen = set(only)
    tables = tuple(
        resolve_table(study.name, table, _base_of(study, table, base, short), fingerprint, seeds)
        for study in studies
        for table in study.tables
        if not chosen or table.number in chosen
    )
    by_key: dict[str, list[tuple[ResolvedTable, ResolvedRow]]] = {}
    for table in tables:
        for row in table.rows:
            by_key.setdefault(row.key, []).append((table, row))
    baseline = _baseline_key(base, fingerprint)
    configs = []
    for key, rows in by_key.items():
        table, row = rows[0]
        asked, missing = set[int](), set[int]()
        for each, _ in rows:
            seeds_asked = set(range(each.seeds))
            asked |= seeds_asked
            missing |= seeds_asked - recorded.get(each.measure, {}).get(key, set())
        if missing:
            try_own_code(row.config, f"table {table.number}, row {row.name}")
        time_factor = max(each.measure.time_factor for each, _ in rows)
        configs.append(
            PlannedConfig(
                key=key,
                name="baseline" if key == baseline else f"{table.slug}-{row.name}",
                config=row.config,
                seeds=tuple(sorted(missing)),
                recorded_seeds=tuple(sorted(asked - missing)),
                rows=tuple(f"{table.number}/{row.name}" for table, row in rows),
                forecast_s=rates.training_s(row.config, len(missing)) * time_factor,
                tables=tuple(table for table, _ in rows),
                fused=rates.fuses_seeds(row.config),
            )
        )
    return TablePlan(tables=tables, configs=tuple(configs))


def resolve_table(study: str, table: Table, base: Mapping[str, Any], fingerprint: str, seeds: int) -> ResolvedTable:
    """The table with the config and the key of every row, for `seeds` seeds unless it asks for its own number. Raises
    `UsageError` for a config that is not valid, and for rows whose measurements or errors cannot stand beside
    each other."""
    rows: list[ResolvedRow] = []
    for row in table.rows:
        config = make_config(row.change, base, f"table {table.number}, row {row.name}")
        for field in IMPOSSIBLE.get(table.measure, ()):
            if field in config.own_code:
                raise UsageError(
                    f"table {table.number}, row {row.name}: {config.text([field])}: measure {table.measure.name} is "
                    f"not possible with a {field} of one's own"
                )
        if TRACES in table.measure.files and rows and _steps(config) != _steps(rows[0].config):
            raise UsageError(
                f"table {table.number}, row {row.name}: batch_size, epochs and protocol must be those of row "
                f"{rows[0].name}: measure {table.measure.name} compares the rows step by step"
            )
        if rows and config.protocol != rows[0].config.protocol:
            raise UsageError(
                f"table {table.number}, row {row.name}: protocol {config.protocol} must be that of row {rows[0].name}: "
                "their errors are of different images"
            )
        rows.append(ResolvedRow(name=row.name, key=config.key(fingerprint), config=config, reported=row.reported))
    reference = make_config(table.reference, base, f"table {table.number}, its reference")
    if rows and table.reference and reference.protocol != rows[0].config.protocol:
        raise UsageError(
            f"table {table.number}: protocol {reference.protocol} of its reference must be that of its rows: their "
            "errors are of different images"
        )
    same = table.model_dump(exclude={"rows", "reference", "seeds", "cpu_epochs"})
    return ResolvedTable(
        study=study, rows=tuple(rows), reference=reference.key(fingerprint), seeds=table.seeds or seeds, **same
    )


def _steps(config: Config) -> tuple[int, int, str]:
    """What decides how many steps a training has."""
    return config.batch_size, config.epochs, config.protocol


def make_config(change: Mapping[str, Any], base: Mapping[str, Any], where: str) -> Config:
    """The baseline with the sweep's changes and then the row's. Raises `UsageError`, which begins with `where`."""
    try:
        config = Config(**combine(base, change))
    except ValidationError as error:
        raise UsageError(f"{where}: {config_problem(error)}") from error
    if "data" in base and config.data != image_set(base["data"]):
        raise UsageError(f"{where}: data {config.data}: a sweep has one data set, that of --data: {base['data']}")
    return config


def try_own_code(config: Config, where: str) -> None:
    """Try a config's code of one's own, which takes seconds. Raises `UsageError`, which begins with `where`, for code
    that cannot be used."""
    if config.own_code:
        from trainable.own_code.check import check_own_code  # imports torch

        try:
            check_own_code(config)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error


def _baseline_key(base: Mapping[str, Any], fingerprint: str) -> str | None:
    """The key of the course report's baseline with the sweep's changes; None where these go together with a study's own
    baseline alone."""
    try:
        return Config(**base).key(fingerprint)
    except ValidationError:
        return None


def _base_of(study: Study, table: Table, base: Mapping[str, Any], short: bool) -> Mapping[str, Any]:
    changed = study.changed_baseline(base)
    return {**changed, "epochs": table.cpu_epochs} if short and table.cpu_epochs else changed
