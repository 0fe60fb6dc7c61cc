"""The errors by epoch: the course report's figures 1 to 8, and those of the other tables."""

from analysis.plots.error_by_epoch import draw_curves, shared_limits
from analysis.report_data import ReportData
from analysis.tables import ReproducedTable
from analysis.writing.page import Absent, Picture, Section
from trainable.study import PARAMETERS_NUMBER

TITLE = "Errors by epoch"


def section(data: ReportData) -> Section | Absent:
    """A picture for the baseline alone, as in the course report, and one for each table with trainings of several
    epochs."""
    tables = [
        reproduced
        for reproduced in data.reproduced
        if any(row.key in data.trainings and row.config.epochs > 1 for row in reproduced.table.rows)
    ]
    if not tables:
        return Absent(TITLE, "no training of several epochs is recorded")
    limits = shared_limits(tables, data.trainings)
    return Section(
        TITLE,
        [
            Picture(
                draw_curves(reproduced, data.trainings, data.folder / f"figure-{reproduced.table.number}.png", limits),
                f"Figure {reproduced.table.number}. {reproduced.table.title}: the error by epoch, mean and range of "
                "the seeds."
                + (" Diamonds are printed minima." if reproduced.comparable else "")
                + " The right panel has an axis of its own.",
            )
            for reproduced in [*_baseline_alone(tables[0]), *tables]
        ],
    )


def _baseline_alone(reproduced: ReproducedTable) -> list[ReproducedTable]:
    """The table's baseline as a table of its own, number 1; empty where it has none."""
    table = reproduced.table.model_copy(update={"title": "Baseline", "number": PARAMETERS_NUMBER, "varies": "network"})
    return [
        ReproducedTable(table, (row,))
        for row, resolved in zip(reproduced.rows, reproduced.table.rows, strict=True)
        if resolved.config.is_baseline
    ]
