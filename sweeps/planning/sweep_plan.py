"""The plan of a sweep: what the record lacks of the chosen studies. No Ray, and torch only to try code of
one's own."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from math import inf

from analysis.record.recorded import DEVICE, DEVICE_NAME, SEED_EPOCH_S, TrialRecord, recorded_seeds
from sweeps.planning.prepare import Prepared
from sweeps.planning.proof_plan import search_proof
from sweeps.planning.race_plan import plan_race
from sweeps.planning.rates import Rates, Timing
from sweeps.planning.resources import Allocation
from sweeps.planning.search_plan import SearchPlan, plan_search
from sweeps.planning.surface_plan import SurfacePlan, plan_surfaces
from sweeps.planning.table_plan import TablePlan, plan_tables
from trainable.errors import UsageError
from trainable.measures import MEASURES


@dataclass(frozen=True)
class SweepPlan:
    """All that the record lacks of the chosen studies."""

    tables: TablePlan
    search: SearchPlan | None
    race: TablePlan
    """The present round of the search's race. It is run once no samples are left to search."""
    surfaces: SurfacePlan

    @property
    def search_claims(self) -> list[str]:
        """The name under which a sweep claims the search, unless the record has it all."""
        return [self.search.claim] if self.search and not self.search.complete else []

    @property
    def complete(self) -> bool:
        """Whether the record lacks nothing."""
        return not self.tables.to_run and not self.surfaces.ready and (self.search is None or self.search.complete)


def plan_sweep(prepared: Prepared, allocation: Allocation, *, given_up: Set[str] = frozenset()) -> SweepPlan:
    """What the record lacks, for trials on that allocation. The keys in `given_up` have failed in this sweep: the
    search does not try them again. Once a search has a winner, its proof is among the tables. Raises `UsageError` for a
    row whose config is not valid, and for GPUs that no trial would use."""
    options, trials, device = prepared.options, prepared.trials, allocation.trial.device
    rates = rates_on(device, trials)
    search = proof = None
    race = TablePlan(tables=(), configs=())
    if options.study_to_search:
        search = plan_search(
            options.study_to_search,
            base=options.base,
            samples=options.samples,
            fingerprint=prepared.data.fingerprint,
            trials=trials,
            budget_s=options.budget.slot_s(options.prices, allocation) if options.budget and allocation.slots else inf,
            proof_seeds=options.proof_seeds,
            given_up=given_up,
        )
        race = plan_race(search, rates)
        proof = search_proof(options.study_to_search, options, search.winner.config if search.winner else None)
    tables = plan_tables(
        [*options.chosen_studies, *([proof] if proof else [])],
        base=options.base,
        fingerprint=prepared.data.fingerprint,
        seeds=options.seeds,
        recorded={measure: recorded_seeds(trials, measure) for measure in MEASURES.values()},
        rates=rates,
        only=(*options.only, *(table.number for table in proof.tables)) if proof and options.only else options.only,
        short=device == "cpu" and not options.epochs_given,
    )
    configs = [each.config for each in tables.configs] + ([search.search.base] if search else [])
    if options.requested.gpus > 1 and not any(config.has_own_training for config in configs):
        raise UsageError(
            f"--gpus-per-trial {options.requested.gpus:g}: a trial trains on one GPU; allowed: at most 1, unless a "
            "training of one's own uses more"
        )
    return SweepPlan(tables, search, race, plan_surfaces(tables.tables, trials))


def rates_on(device: str, trials: Sequence[TrialRecord]) -> Rates:
    """How fast slots of a device train, learnt from recorded trials."""
    timings = (
        Timing(
            trial.config,
            trial.tags.get(DEVICE, ""),
            trial.metrics[SEED_EPOCH_S],
            trial.tags.get(DEVICE_NAME, ""),
        )
        for trial in trials
        if SEED_EPOCH_S in trial.metrics
    )
    return Rates(device, tuple(timings))
