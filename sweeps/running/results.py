"""What a sweep says of its results: the command that shows them as they come; at its end the tables, where the record
is, and how to look at it."""

import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from analysis.commandline.passwords import hide_passwords
from analysis.record.embedded import database_of
from analysis.record.mlflow_record import without_gaps
from analysis.record.opening import open_record
from analysis.record.recorded import CURVES, VAL_ERROR, WINNER_METRIC, ranked
from analysis.record.replicates import replicates
from analysis.statistics.intervals import mean_text
from analysis.tables import ReproducedTable, reproduce
from analysis.writing.words import counted
from sweeps.planning.options import Options
from sweeps.planning.search_plan import SearchPlan
from sweeps.recording.ui_state import link
from sweeps.recording.views import STUDY
from sweeps.screen import print_table
from trainable.study import ResolvedTable

LOCAL_UI = "http://127.0.0.1:5000"
"""Where `mlflow ui` answers."""


def print_results(
    options: Options, tables: Sequence[ResolvedTable], search: SearchPlan | None, console: Console
) -> None:
    """Print the tables and the search's winner from the record as it is now, and where to look at it."""
    record = open_record(options.tracking_uri, options.experiment)
    trials = record.trials() if record else []
    tables = [table for table in tables if table.measure.errors_shown]
    keys = {row.key for table in tables for row in table.rows}
    complete = [trial for trial in trials if trial.complete and trial.key in keys]
    histories = record.with_histories(complete, CURVES) if record else []
    for table in reproduce(tables, replicates(without_gaps(histories))):
        print_table(console, _rendered(table))
    if search:
        _print_search(search.with_trials(trials), console)
    print_place(options.tracking_uri, options.experiment, record.experiment_id if record else None, console)


def print_live_page(options: Options, sweep: str, console: Console) -> None:
    """Print the command that shows a sweep while it runs. A URI with a password has to come from the environment."""
    uri = options.tracking_uri
    place = f"--tracking-uri {shlex.quote(uri)} " * (hide_passwords(uri) == uri)
    named = f"--experiment {shlex.quote(options.experiment)} --sweep {shlex.quote(sweep)}"
    console.print(f"to watch it: python -m analysis.live {place}{named}", soft_wrap=True)


def print_place(tracking_uri: str, experiment: str, experiment_id: str | None, console: Console) -> None:
    """Print where the record is, and how to look at it. The id is None where the experiment does not exist."""
    console.print(f"\nRecord: experiment {experiment!r} in {hide_passwords(tracking_uri)}")
    server = tracking_uri
    if database_of(server):
        console.print(f"Look at it: mlflow ui --backend-store-uri {shlex.quote(server)}", soft_wrap=True)
        server = LOCAL_UI
    if experiment_id and server.startswith("http"):
        page = f"{hide_passwords(server).rstrip('/')}{link(experiment_id, STUDY)}"
        console.print(f"  and open {page}", soft_wrap=True)


def _rendered(reproduced: ReproducedTable) -> Table:
    header, *rows = reproduced.text_cells()
    title = f"\n{reproduced.table.heading} ({reproduced.data})"
    table = Table(*header, title=title, title_justify="left", box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    return table


def _print_search(plan: SearchPlan, console: Console) -> None:
    complete = ranked(plan.judged)
    if not complete:
        console.print("\nSearch: no trial has run to its last epoch yet.")
        return
    winner, race = plan.winner, plan.race
    best = winner or complete[0]
    console.print(f"\nBest config of the search: {best.name}, validation error {best.metrics[VAL_ERROR]:.4f}")
    console.print(f"  {best.config.text(best.config.canonical())}")
    if best.metrics[VAL_ERROR] >= best.config.chance:
        console.print(
            f"  it learned nothing: its error is not below {best.config.chance:g}, that of one answer for all images; "
            "more epochs may help",
            style="yellow",
        )
    if winner:
        errors, seeds = mean_text(race.winning_errors), counted(len(race.winning_errors), "seed")
        console.print(f"  validation error in the race, over {seeds}: {errors}")
    if winner and plan.winner_recorded:
        test_error = winner.metrics[WINNER_METRIC]
        console.print(f"  test error, trained on the whole train split: {test_error:.4f}, {plan.proven_seeds} seeds")
