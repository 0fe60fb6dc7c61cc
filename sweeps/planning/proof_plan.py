"""The proof of a search's winner, as a study to plan, and how large it will be."""

from sweeps.planning.options import Options
from sweeps.planning.search_plan import SearchPlan
from sweeps.planning.table_plan import make_config
from sweeps.studies.proof import proof_study
from trainable.config import Config
from trainable.search_definition import WINNER_ROW
from trainable.study import Study


def search_proof(study: Study, options: Options, winner: Config | None) -> Study:
    """The study that proves the winner of a study's search; before there is one, the config alone that it will be
    compared with, so that this is trained beside the tables."""
    compared = make_config(study.required_search.compared_with, study.changed_baseline(options.base), "compared_with")
    return proof_study(
        study,
        compared.change(protocol="A"),
        winner.change(protocol="A") if winner else None,
        options.proof_seeds,
        options.difference_seeds,
    )


def expected_differences(options: Options, plan: SearchPlan) -> int:
    """How many differences a search's winner will have about, before it is known: those of the start point that has
    most. 0 where they are not asked for, or the winner is known: then they are among the tables."""
    if plan.winner or not options.study_to_search or not options.difference_seeds:
        return 0
    starts = [plan.search.config(plan.search.start_values(point)) for point in plan.search.start]
    tables = [search_proof(options.study_to_search, options, start).tables[1] for start in starts]
    return max((sum(row.name != WINNER_ROW for row in table.rows) for table in tables), default=0)
