"""The trainings of a race and of a proof, planned as tables are. No Ray, no torch."""

from sweeps.planning.options import Options
from sweeps.planning.rates import Rates
from sweeps.planning.search_plan import SearchPlan
from sweeps.planning.table_plan import PlannedConfig, TablePlan, make_config
from sweeps.studies.proof import proof_study
from trainable.study import ResolvedRow, ResolvedTable, Study


def plan_race(plan: SearchPlan, rates: Rates, *, fused: bool) -> TablePlan:
    """The trainings of the present round of a search's race. Their trials are the search's, for other seeds."""
    standing, study = plan.race, plan.search.study
    rows = tuple(ResolvedRow(name=racer.name, key=racer.key, config=racer.config) for racer in standing.racers)
    table = ResolvedTable(
        study=study, number=study, slug=f"{study}-race", title=f"Race: {plan.search.title}", varies="config", rows=rows
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
            fused=fused,
        )
        for racer in standing.racers
        if racer.key in standing.to_run
    )
    return TablePlan(tables=(table,), configs=configs)


def winners_proof(options: Options, plan: SearchPlan) -> Study | None:
    """The study that proves the winner of a search; None before there is one."""
    if plan.winner is None or options.search is None or options.search.search is None:
        return None
    compared = make_config(options.search.search.compared_with, options.base, "compared_with")
    return proof_study(
        options.search,
        plan.winner.config.change(protocol="A"),
        compared.change(protocol="A"),
        options.proof_seeds,
        options.difference_seeds,
    )
