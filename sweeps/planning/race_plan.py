"""The trainings of a race, planned as those of tables are. No Ray, no torch."""

from sweeps.planning.rates import Rates
from sweeps.planning.search_plan import SearchPlan
from sweeps.planning.table_plan import PlannedConfig, TablePlan
from trainable.study import ResolvedTable


def plan_race(plan: SearchPlan, rates: Rates) -> TablePlan:
    """The trainings of the present round of a search's race. Their trials are the search's, for other seeds."""
    standing, study = plan.race, plan.search.study
    table = ResolvedTable(
        study=study, number=study, slug=f"{study}-race", title=f"Race: {plan.search.title}", varies="config", rows=()
    )
    configs = tuple(
        PlannedConfig(
            key=racer.key,
            name=racer.name,
            config=racer.config,
            seeds=standing.to_run[racer.key],
            recorded_seeds=tuple(racer.errors),
            rows=(racer.name,),
            forecast_s=rates.training_s(racer.config, len(standing.to_run[racer.key])),
            tables=(table,),
            fused=rates.fuses_seeds(racer.config),
        )
        for racer in standing.racers
        if racer.key in standing.to_run
    )
    return TablePlan(tables=(), configs=configs)  # the UI has no view of a race
