"""How early the end of a training can be foretold, which decides where a search compares its trials."""

from collections.abc import Sequence

from analysis.plots.rung_prediction import draw_rank_agreements
from analysis.report_data import ReportData
from analysis.statistics.rank_agreement import LEAST_CONFIGS, SHORTER_TRAINING, RankAgreement, rank_agreements
from analysis.writing.page import Absent, Grid, Picture, Section, Text
from analysis.writing.words import listed
from trainable.measures import RUNGS
from trainable.resolved_search import ResolvedSearch
from trainable.search_definition import Scheduler, calibration_name
from trainable.search_space import Choice
from trainable.study import ResolvedTable
from trainable.value_text import value_text

TITLE = "Do early errors predict the final order?"
ABOUT = (
    "A search stops trainings early, at its rungs. That is safe where the errors at a rung have the order that they "
    "have at the end. To choose the rungs, random configurations of the search's space are trained to their end. For "
    "each epoch, Kendall's tau compares the order of the configurations by their error then with their order by the "
    "error after the last epoch (that of the averaged weights, where a configuration averages them): 1 is the same "
    "order, 0 no relation. A training with a learning-rate schedule looks worse than it will be until its rate falls. "
    "Two remedies are compared: the error of a moving average of the weights, and a shorter training with a whole "
    "schedule of its own. Intervals are 95% bootstrap intervals over configurations."
)


def section(data: ReportData) -> Section | Absent:
    """The calibrations that are recorded, a subsection each."""
    tables = [table for table in data.tables if table.measure == RUNGS]
    if not tables:
        return Absent(TITLE, "no calibration is recorded (python sweeps/search.py --calibrate N)")
    return Section(TITLE, [Text(ABOUT)], [_calibration(data, table) for table in tables])


def _calibration(data: ReportData, table: ResolvedTable) -> Section:
    made = rank_agreements(table, data.trainings)
    if not made:
        return Section(table.title, [Text(f"Missing: fewer than {LEAST_CONFIGS} configurations are trained.")])
    epochs = max(row.config.epochs for row in table.rows)
    search = next((each.search for each in data.searches if table.study == calibration_name(each.search.study)), None)
    rungs = search.rungs if search else Scheduler().rungs(epochs)
    title = f"{made[-1].configs} configurations on {table.rows[0].config.data}, {epochs} epochs; rungs dotted"
    picture = draw_rank_agreements(made, rungs, title, data.folder / f"{table.slug}.png")
    shown = [each for each in made if each.epochs in rungs or each.signal == SHORTER_TRAINING]
    rows = [
        (each.signal, str(each.epochs), f"{each.tau:.2f}", f"{each.low:.2f} to {each.high:.2f}", str(each.configs))
        for each in shown
    ]
    caption = "How well each signal foretells the order of the configurations at the end, by its epochs."
    header = ("signal", "epochs", "Kendall's tau", "95% interval", "configurations")
    said = [Text(said) for said in (_at_first_rung(made, rungs), _untried(table, search)) if said]
    return Section(table.title, [*said, Picture(picture, caption), Grid(header, rows)])


def _at_first_rung(made: Sequence[RankAgreement], rungs: Sequence[int]) -> str:
    """How well each signal predicts the final order at the first rung, in a sentence; empty where there is none."""
    there = [
        f"{each.tau:.2f} ({each.low:.2f} to {each.high:.2f}) by the {each.signal}"
        for each in made
        if rungs and each.epochs == rungs[0] and each.signal != SHORTER_TRAINING
    ]
    return f"At the first rung, epoch {rungs[0]}, tau is {listed(there)}." if there else ""


def _untried(table: ResolvedTable, search: ResolvedSearch | None) -> str:
    """Which choices of the search no config of its calibration has, in a sentence: the search's space may have been
    widened since. Empty where there are none."""
    if search is None:
        return ""
    points = [search.point(row.config) for row in table.rows]
    untried = [
        f"{name} {value_text(value)}"
        for name, parameter in search.space.items()
        for value in (parameter.choices if isinstance(parameter, Choice) else ())
        if all(point.get(name) != value for point in points)
    ]
    return f"No configuration here has {listed(untried)}, which the search also tries." if untried else ""
