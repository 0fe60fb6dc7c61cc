"""Everything that is checked and known before anything is started: the data, the record, the plan. No Ray, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from analysis.record import Record, TrialRecord, recorded_seeds
from sweeps import cluster, tracking
from sweeps.display import duration
from sweeps.errors import UsageError
from sweeps.forecast import Forecaster, Timing, cost
from sweeps.options import SEARCH, Options
from sweeps.plan import Plan, config_of, make_plan
from sweeps.resources import Resources, count_slots, local_resources, trial_resources
from sweeps.search import EXTREME, FIXED, SPACE, Search, make_search
from sweeps.studies import STUDIES
from sweeps.surfaces import Surface, missing
from trainable import data
from trainable.study import Measure


@dataclass(frozen=True)
class Prepared:
    """A checked request and what the record has of it."""

    options: Options
    fingerprint: str
    """The data's; `unknown` in a dry run where CIFAR-10 is yet to be downloaded."""
    form: str
    """The data's form: official, parquet, folders or embedded."""
    record: Record | None
    """None where the embedded record does not exist yet."""

    @cached_property
    def trials(self) -> list[TrialRecord]:
        """What the record has, with the last value of each metric."""
        return self.record.trials() if self.record else []

    def plan(self, slots: int = 1, device: str | None = None) -> Plan:
        """The plan of the chosen tables for that many slots on a device; see `device` for the default."""
        device = device or self.device
        return make_plan(
            [STUDIES[name] for name in self.options.studies if name in STUDIES],
            base=self.options.base,
            fingerprint=self.fingerprint,
            seeds=self.options.seeds,
            recorded={measure: recorded_seeds(self.trials, measure) for measure in get_args(Measure)},
            short=device == "cpu" and not self.options.epochs_given,
            fused=device != "cpu",  # which gains nothing from it: apart, the seeds fill more slots
            forecaster=self.forecaster(device),
            slots=slots,
            only=self.options.only,
        )

    def search(self) -> Search | None:
        """The search, with what the record has of it; None where it was not chosen."""
        if SEARCH not in self.options.studies:
            return None
        return make_search(self.options.base, self.options.samples, self.trials, self.fingerprint)

    def left_of(self, plan: Plan) -> bool:
        """Whether the record lacks some of a plan, of its surfaces, or of the search."""
        search = self.search()
        return bool(plan.to_run or self.surfaces(plan)) or (search is not None and not search.done)

    @property
    def device(self) -> str:
        """What trials will compute on, as far as is known before a cluster is joined."""
        if self.options.address is None:
            return self.asks([local_resources()]).device
        return "cpu" if self.options.gpus_per_trial == 0 else "cuda"

    def asks(self, nodes: Sequence[Resources]) -> Resources:
        """What a trial asks of these nodes. Raises `UsageError` where none has as much and no more can start."""
        options = self.options
        unsaid, grows = options.gpus_per_trial is None, options.slots is not None
        try:
            return trial_resources(nodes, options.asks, unsaid, grows)
        except UsageError as error:
            if not options.asks.gpus or any(node.gpus for node in nodes):
                raise
            on_cpus = Resources(options.cpus_per_trial)
            plan, summary = self.forecast(on_cpus, max(count_slots(nodes, on_cpus), 1))
            raise UsageError(
                f"{error}; without GPUs (--gpus-per-trial 0) the sweep takes about "
                f"{duration(summary['total_s'])} on {plan.slots} CPU slot(s)"
            ) from error

    def slots(self, nodes: Sequence[Resources], asks: Resources) -> int:
        """Trials at the same time: what was asked for, or what the nodes hold."""
        return self.options.slots or count_slots(nodes, asks)

    def surfaces(self, plan: Plan) -> list[Surface]:
        """The loss surfaces that the plan's tables ask for, whose training is recorded and which are not."""
        return missing(plan.tables, self.trials)

    def forecaster(self, device: str) -> Forecaster:
        """Forecasts for slots on a device (`cpu` or `cuda`), learnt from the record."""
        timings = (
            Timing(trial.config, trial.tags.get("device", ""), trial.metrics["seed_epoch_s"])
            for trial in self.trials
            if "seed_epoch_s" in trial.metrics
        )
        return Forecaster(device, tuple(timings))

    def dry_run(self) -> tuple[Plan, dict[str, Any]]:
        """`forecast` without starting anything. Slots are this machine's; those of a cluster are not known before it is
        joined, so that a plan for one is for `--slots`, or a single one."""
        if self.options.address or self.options.slots:
            return self.forecast(self.options.asks, self.options.slots or 1)
        nodes = [local_resources()]
        asks = self.asks(nodes)
        return self.forecast(asks, count_slots(nodes, asks))

    def forecast(self, asks: Resources, slots: int) -> tuple[Plan, dict[str, Any]]:
        """The plan for that many slots of trials that ask for so much, and the same with its surroundings, time and
        money as one JSON object."""
        options, device = self.options, asks.device
        plan, search, forecaster = self.plan(slots, device), self.search(), self.forecaster(device)
        slot_s, wall_s = sum(config.forecast_s for config in plan.to_run), plan.wall_s
        summary: dict[str, Any] = {
            "data": {"name": self.options.data, "fingerprint": self.fingerprint, "form": self.form},
            "resources": {
                "cpus_per_trial": asks.cpus,
                "gpus_per_trial": asks.gpus,
                "gpu_memory_per_trial": asks.gpu_memory_gb,
            },
            "forecast_basis": forecaster.basis,
            **plan.summary(),
        }
        if surfaces := self.surfaces(plan):
            seconds = sum(surface.forecast_s(forecaster.rate(surface.trial.config)) for surface in surfaces)
            slot_s, wall_s = slot_s + seconds, wall_s + seconds / slots
            summary["surfaces"] = {"to_run": len(surfaces), "forecast_s": round(seconds / slots, 1)}
        if search:
            seconds = search.forecast_s(forecaster, slots)
            slot_s, wall_s = slot_s + seconds * slots, wall_s + seconds
            summary["search"] = {
                "samples": search.samples,
                "recorded": len(search.finished),
                "to_run": search.to_run,
                "forecast_s": round(seconds, 1),
            }
        summary["total_s"] = round(wall_s, 1)
        if options.prices:
            summary["cost"] = round(cost(options.prices, asks, slot_s, wall_s), 2)
        return plan, summary


def prepare(options: Options, *, download: bool) -> Prepared:
    """Check a request. With `download`, CIFAR-10 that is nowhere is fetched.

    Raises `UsageError` or `DataError` in one line for data, a config, an address or a tracking server that is not
    usable.
    """
    config_of({}, options.base, "--set")
    if SEARCH in options.studies:
        if searched := set(options.changes) & {*SPACE, *FIXED}:
            raise UsageError(
                f"--set {min(searched)}: the search decides it; leave out --studies {SEARCH} or the change"
            )
        config_of({**FIXED, **EXTREME}, options.base, "the search")
    if options.address:
        cluster.ready_to_join(options.address)
    record = tracking.open_record(options.tracking_uri, options.experiment)
    found = data.fingerprint(options.data, options.data_dir, download=download)
    fingerprint, form = found or ("unknown", "to be downloaded")
    return Prepared(options, fingerprint, form, record)
