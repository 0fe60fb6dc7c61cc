"""The forecast of a sweep: what is to run, for how long, on what and for how much money. Also as one JSON object."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from analysis.commandline.passwords import hide_passwords
from analysis.record.recorded import TrialRecord
from sweeps.planning.power import PowerForecast, forecast_power
from sweeps.planning.prepare import Prepared
from sweeps.planning.proof_plan import expected_differences
from sweeps.planning.rates import cost, makespan
from sweeps.planning.resources import Allocation, Resources
from sweeps.planning.search_forecast import SearchForecast, forecast_search
from sweeps.planning.sweep_plan import SweepPlan, rates_on
from sweeps.planning.table_plan import PlannedConfig
from trainable.config import Config
from trainable.data import UNKNOWN, DataSource
from trainable.measures import RUNGS
from trainable.own_code.code_file import SourceFile
from trainable.study import ResolvedTable

START_S = 30.0
"""What a sweep takes besides its stages, about: Ray starts before them, and the report is written after them. Measured,
as `STAGE_S`, on two cores of an EPYC without AVX-512."""
STAGE_S = 10.0
"""What a stage takes before its first epoch, about: its workers start and import PyTorch."""


class ResourcesForecast(BaseModel):
    """What each trial gets."""

    cpus_per_trial: float
    gpus_per_trial: float
    gpu_memory_per_trial: float


class ConfigForecast(BaseModel):
    """One distinct config of the tables."""

    key: str
    name: str
    config: dict[str, Any]
    seeds: list[int]
    recorded_seeds: list[int]
    trials: int
    rows: list[str]
    forecast_s: float


class SurfacesForecast(BaseModel):
    """The loss surfaces that the record lacks."""

    to_run: int
    later: int
    """Of them, those whose network is not trained yet."""
    forecast_s: float


class SameTraining(BaseModel):
    """Rows of one table that are one training, as `--set` can make them."""

    table: str
    """The table's number."""
    rows: list[str]


class RecordForecast(BaseModel):
    """The record that the plan was compared with."""

    tracking_uri: str
    experiment: str
    exists: bool


class Forecast(BaseModel):
    """What a sweep will do, and what that takes. Seconds are wall seconds on the slots, unless said otherwise."""

    data: DataSource
    of_other_images: int
    """Recorded trials on data that has the same name and other images."""
    of_other_code: dict[str, int]
    """By the name of a file among the code of one's own of the configs to run: recorded trials with another text of
    it."""
    record: RecordForecast
    resources: ResourcesForecast
    forecast_basis: str
    """What the times are learnt from."""
    rows: int
    distinct: int
    """Distinct configs."""
    recorded: int
    """Distinct configs that the record has with all seeds."""
    to_run: int
    """Trials of the tables."""
    slots: int
    gpus_assumed: bool
    """See `Allocation`."""
    slots_assumed: bool
    """See `Allocation`."""
    forecast_s: float
    """The trials of the tables."""
    same_trainings: list[SameTraining]
    configs: list[ConfigForecast]
    """With slot seconds."""
    surfaces: SurfacesForecast | None = None
    search: SearchForecast | None = None
    power: PowerForecast | None = None
    """What the planned seeds can show; None where the record has too little to learn it from."""
    overhead_s: float
    """Starts and the report: see `START_S` and `STAGE_S`."""
    total_s: float
    bf16_total_s: float | None = None
    """The same with `--precision bf16`, by the trainings that the record has in both precisions; None where it has none
    on this device, or where the tables are not in fp32."""
    bf16_device: str | None = None
    """The model of the processor or GPU that those were trained on."""
    cost: float | None = None
    """Money at the given prices; see `rates.cost`."""

    def as_json(self) -> str:
        """One JSON object, without what does not apply."""
        return self.model_dump_json(indent=2, exclude_none=True)


def make_forecast(prepared: Prepared, plan: SweepPlan, allocation: Allocation) -> Forecast:
    """Forecast a plan on an allocation."""
    options, slots, trial = prepared.options, allocation.slots, allocation.trial
    rates, tables = rates_on(trial.device, prepared.trials), plan.tables
    slot_s, wall_s = tables.slot_s, tables.wall_s(slots)
    surfaces = search = None
    if sizes := plan.surfaces.sizes:
        tasks_s = [seconds for size in sizes for seconds in size.tasks_s(rates)]
        surfaces_s = makespan(tasks_s, slots)
        surfaces = SurfacesForecast(to_run=len(sizes), later=len(plan.surfaces.later), forecast_s=round(surfaces_s, 1))
        slot_s, wall_s = slot_s + sum(tasks_s), wall_s + surfaces_s
    if plan.search:
        differences = expected_differences(options, plan.search)
        search = forecast_search(
            plan.search,
            rates,
            slots,
            difference_seeds=[options.difference_seeds] * differences,
        )
        slot_s, wall_s = slot_s + search.slot_s, wall_s + search.wall_s
    stages = bool(tables.to_run) + bool(surfaces) + (search.stages if search else 0)
    overhead_s = START_S + STAGE_S * stages if stages else 0.0
    prices = options.prices
    to_run = [each.config for each in tables.to_run] + ([plan.search.search.base] if plan.search else [])
    in_fp32 = all(config.precision == "fp32" and not config.has_own_training for config in to_run)
    speedup = rates.bf16_speedup() if wall_s and in_fp32 else None
    return Forecast(
        data=prepared.data,
        of_other_images=_count_of_other_images(prepared.data, prepared.trials),
        of_other_code=_count_of_other_code(to_run, prepared.trials),
        record=RecordForecast(
            tracking_uri=hide_passwords(options.tracking_uri),
            experiment=options.experiment,
            exists=prepared.record is not None and prepared.record.experiment_id is not None,
        ),
        resources=_resources(trial),
        forecast_basis=rates.basis,
        rows=sum(len(table.rows) for table in tables.tables),
        distinct=len(tables.configs),
        recorded=len(tables.configs) - len(tables.to_run),
        to_run=sum(len(config.trial_seeds) for config in tables.to_run),
        slots=slots,
        gpus_assumed=allocation.gpus_assumed,
        slots_assumed=allocation.slots_assumed,
        forecast_s=round(tables.wall_s(slots), 1),
        same_trainings=[same for table in tables.tables for same in _same_trainings(table)],
        configs=[_config(config) for config in tables.configs],
        surfaces=surfaces,
        search=search,
        power=forecast_power(tables, prepared.trials),
        overhead_s=overhead_s,
        total_s=round(wall_s + overhead_s, 1),
        bf16_total_s=round(wall_s / speedup.factor + overhead_s, 1) if speedup else None,
        bf16_device=speedup.device_name if speedup else None,
        cost=round(cost(prices, trial, slot_s, wall_s + overhead_s), 2) if prices else None,
    )


def _count_of_other_images(data: DataSource, trials: Sequence[TrialRecord]) -> int:
    if data.fingerprint == UNKNOWN:
        return 0
    of_name = [trial for trial in trials if trial.complete and trial.config.data.name == data.name]
    return sum(trial.fingerprint not in ("", data.fingerprint) for trial in of_name)


def _count_of_other_code(to_run: Sequence[Config], trials: Sequence[TrialRecord]) -> dict[str, int]:
    wanted = _own_sources(to_run)
    names = {source.file for source in wanted}
    others = [{source.file for source in _own_sources([trial.config]) - wanted} for trial in trials if trial.complete]
    return dict(sorted(Counter(name for each in others for name in each & names).items()))


def _own_sources(configs: Iterable[Config]) -> set[SourceFile]:
    return {source for config in configs for field in config.own_code for source in getattr(config, field).sources}


def _same_trainings(table: ResolvedTable) -> list[SameTraining]:
    rows: dict[str, list[str]] = {}
    for row in table.rows if table.measure != RUNGS else ():  # shortened trainings may be equally short
        rows.setdefault(row.key, []).append(row.name)
    return [SameTraining(table=table.number, rows=names) for names in rows.values() if len(names) > 1]


def _resources(trial: Resources) -> ResourcesForecast:
    return ResourcesForecast(
        cpus_per_trial=trial.cpus, gpus_per_trial=trial.gpus, gpu_memory_per_trial=trial.gpu_memory_gb
    )


def _config(planned: PlannedConfig) -> ConfigForecast:
    return ConfigForecast(
        key=planned.key,
        name=planned.name,
        config=planned.config.model_dump(mode="json"),
        seeds=list(planned.seeds),
        recorded_seeds=list(planned.recorded_seeds),
        trials=len(planned.trial_seeds),
        rows=list(planned.rows),
        forecast_s=round(planned.forecast_s, 1),
    )
