"""How early the end of a training can be foretold, which decides where a search compares its trials."""

from analysis.plots.rung_prediction import draw_rank_agreements
from analysis.report_data import ReportData
from analysis.statistics.rank_agreement import LEAST_CONFIGS, SHORTER_TRAINING, rank_agreements
from analysis.writing.page import Grid, Picture, Section, Text
from trainable.measures import RUNGS
from trainable.search_definition import Scheduler, calibration_name
from trainable.study import ResolvedTable

TITLE = "Calibration of the search"
ABOUT = (
    "Random configurations of the search's space are trained to their end. For each epoch, Kendall's tau compares the "
    "order of the configurations by their error then with their order by the error that the search judges them by, "
    "after the last epoch: 1 is the same order, 0 no relation. That last error is the one of the averaged weights, "
    "where a configuration averages them. A rung of the search is useful where tau is high. A training with a "
    "learning-rate schedule looks worse than it will be until its rate falls. Two remedies are compared: the error of "
    "a moving average of the weights, and a shorter training with a whole schedule of its own. Intervals are 95% "
    "bootstrap intervals over configurations."
)


def section(data: ReportData) -> Section:
    """The calibrations that are recorded, a subsection each."""
    tables = [table for table in data.tables if table.measure == RUNGS]
    if not tables:
        return Section(TITLE, [Text("Missing: no calibration is recorded (python sweeps/search.py --calibrate N).")])
    return Section(TITLE, [Text(ABOUT)], [_calibration(data, table) for table in tables])


def _calibration(data: ReportData, table: ResolvedTable) -> Section:
    made = rank_agreements(table, data.trainings)
    if not made:
        return Section(table.title, [Text(f"Missing: fewer than {LEAST_CONFIGS} configurations are trained.")])
    epochs = max(row.config.epochs for row in table.rows)
    rungs = next(
        (each.search.rungs for each in data.searches if table.study == calibration_name(each.search.study)),
        Scheduler().rungs(epochs),
    )
    title = f"{made[-1].configs} configurations on {table.rows[0].config.data}, {epochs} epochs; rungs dotted"
    picture = draw_rank_agreements(made, rungs, title, data.folder / f"{table.slug}.png")
    shown = [each for each in made if each.epochs in rungs or each.signal == SHORTER_TRAINING]
    rows = [
        (each.signal, str(each.epochs), f"{each.tau:.2f}", f"{each.low:.2f} to {each.high:.2f}", str(each.configs))
        for each in shown
    ]
    caption = "How well each signal foretells the order of the configurations at the end, by its epochs."
    header = ("signal", "epochs", "Kendall's tau", "95% interval", "configurations")
    return Section(table.title, [Picture(picture, caption), Grid(header, rows)])
