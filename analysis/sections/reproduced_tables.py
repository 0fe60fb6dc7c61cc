"""The course report's tables: its printed errors beside ours, and how far they agree."""

from collections.abc import Sequence
from typing import Any

from analysis.agreement import (
    Agreement,
    InterquartileMean,
    PrintedChange,
    agreements,
    changes_text,
    disagreements,
    printed_changes,
    rows_that_learned_nothing,
)
from analysis.networks import BATCH_NORM, BIGGER, SMALLER
from analysis.own_numbers import HEADER as OWN_NUMBERS
from analysis.own_numbers import own_numbers
from analysis.plots.table_overview import draw_tables
from analysis.report_data import ReportData
from analysis.statistics.effects import ALPHA
from analysis.statistics.intervals import mean_text
from analysis.statistics.t_tests import p_text
from analysis.tables import NUMBERS, ReproducedTable
from analysis.writing.csv_file import write_csv
from analysis.writing.page import Absent, Block, Grid, Picture, Section, Text
from analysis.writing.words import listed
from trainable.architecture import parameters
from trainable.config import Config
from trainable.image_set import CIFAR10
from trainable.study import PARAMETERS_NUMBER, ResolvedTable

TITLE = "Reported and reproduced"
OWN_TITLE = "Tables"
"""Of the section, where no figure of the course report stands in the tables."""
SIZES: dict[str, tuple[int, dict[str, Any]]] = {
    "baseline": (285_162, {}),
    "smaller": (18_210, SMALLER),
    "bigger": (4_538_250, BIGGER),
    "batch norm": (285_770, BATCH_NORM),
    "bigger with batch norm": (4_540_682, {**BIGGER, **BATCH_NORM}),
    "VGG-A": (9_750_922, {"network": "vgg-a"}),
    "VGG-A with batch norm": (9_758_474, {"network": "vgg-a", "batch_norm": True}),
}
"""The course report's table 1: each network's printed number of parameters, and its change from the baseline."""
HOW_TO_READ = (
    "An error called a minimum is the mean over the seeds of each seed's lowest error of any epoch. It is followed by "
    "half the width of its 95% confidence interval (±) and by the epochs of these minima (@). A minimum over the "
    "epochs on the test split is optimistic; the error after the last epoch stands beside it. These intervals speak of "
    "new seeds on the same images."
)
WHY_MINIMA = " The tables have minima because the course report prints them."
HOW_TO_JUDGE = (
    "A printed figure counts as reproduced where it lies in the range in which one more run of ours would fall with a "
    "probability of 95%: the prediction interval. Where their training and ours are alike, one printed figure in "
    "twenty still lies outside. Each interval rests on the few seeds of its row: a narrow one excludes much, a wide "
    "one little. The intervals say what another training would give, on the same test split. Its 10,000 images alone "
    "leave an error of 0.3 uncertain by 0.009."
)
ABOUT_CHANGES = (
    "A change is the error of a row minus that of its reference. Whatever shifts all errors alike does not matter to "
    "it. The two runs of one more pair count as independent, with a seed each."
)
MEASURED = "These are the errors of its trainings; what is measured of them stands under Networks and landscapes."


def section(data: ReportData) -> Section | Absent:
    """An overview of all rows and of what is not reproduced, and each table as a subsection."""
    if not data.reproduced:
        return Absent(TITLE, "no table is recorded")
    is_reported = any(row.reported for table in data.tables for row in table.rows)
    blocks: list[Block] = [Text(HOW_TO_READ + WHY_MINIMA * is_reported)]
    blocks += [Text(said) for said in _crossed(data.reproduced)]
    if compared := agreements(data.reproduced):
        blocks += [Text(HOW_TO_JUDGE), *(Text(_agreement(each)) for each in compared)]
        if data.about_lossy:
            blocks.append(Text(data.about_lossy))
    if ablations := [table for table in data.reproduced if table.table.compares_errors]:
        file = draw_tables(ablations, data.folder / "tables.png")
        what = ", reported and reproduced" * bool(compared)
        blocks.append(Picture(file, f"The held-out errors of each row{what}."))
    if not_reproduced := disagreements(data.reproduced):
        rows = [
            (
                f"table {each.table}, {each.row}",
                each.split,
                f"{each.ours:.4f}",
                each.interval.text(),
                f"{each.printed:.4f}",
                f"{each.ours - each.printed:+.4f}",
            )
            for each in not_reproduced
        ]
        header = ("not reproduced", "error", "ours", "one more run", "reported", "ours minus reported")
        blocks.append(Grid(header, rows))
    if changes := printed_changes(data.reproduced):
        blocks += [Text(f"{ABOUT_CHANGES} {changes_text(changes)}"), _changes(changes)]
    blocks += [
        Text(
            f"In table {each.table}, {each.row}, seed{'s' * (len(each.seeds) > 1)} "
            f"{listed([str(seed) for seed in each.seeds])} learned nothing: seeds are shown one by one, without an "
            "interval."
        )
        for each in rows_that_learned_nothing(data.reproduced)
    ]
    tables = [_table(data, table) for table in data.reproduced]
    if not is_reported:
        return Section(OWN_TITLE, blocks, tables)
    return Section(TITLE, blocks, [*_parameter_counts(data), *tables])


def _changes(changes: Sequence[PrintedChange]) -> Grid:
    """The printed changes beside ours, the largest gain first."""
    rows = [
        (
            f"table {each.table}, {each.row}",
            f"{each.printed:+.4f}",
            f"{each.ours:+.4f}",
            each.interval.text("+.4f"),
            "yes" if each.reproduced else "no",
        )
        for each in sorted(changes, key=lambda change: change.ours)
    ]
    return Grid(("change of the test error", "reported", "ours", "one more pair", "reproduced"), rows)


def _crossed(tables: Sequence[ReproducedTable]) -> list[str]:
    """Which rows have an interval that speaks of new images, too."""
    rows = {row.key: row.new_images_half_width is not None for table in tables for row in table.rows if row.held_out}
    if not any(rows.values()):
        return []
    chance = sorted({f"{row.held_out.chance:g}" for table in tables for row in table.rows if row.held_out})
    return [
        "A number in brackets after the last epoch's error is half the width of a second interval, of new seeds and "
        f"new images. {sum(rows.values())} of {len(rows)} distinct rows have one. Rows without it have one seed, a "
        f"training that ended at chance (with an error not below {' or '.join(chance)}), or no record of which "
        "images they classify correctly."
    ]


def _agreement(agreement: Agreement) -> str:
    unjudged = agreement.unjudged
    return (
        f"Of {agreement.printed} printed {agreement.split} errors {agreement.reproduced} lie in the "
        f"prediction interval, {agreement.not_reproduced} do not"
        + (f", {unjudged} cannot be judged (one seed, or a training that learned nothing)" if unjudged else "")
        + f".{_chance(agreement)} {agreement.shift_text}"
        + (_shift(agreement.shift) if agreement.shift else "")
    )


def _chance(agreement: Agreement) -> str:
    """Whether chance explains how many are not reproduced."""
    if not agreement.not_reproduced:
        return ""
    p = agreement.chance_p
    if p >= ALPHA:
        return f" So many are compatible with chance (p {p_text(p)}, rows taken as independent)."
    return (
        f" Chance hardly explains so many (p {p_text(p)}, rows taken as independent). One cause that shifts all "
        "errors, such as other images, would."
    )


def _shift(shift: InterquartileMean) -> str:
    return (
        f" The interquartile mean of the difference, over the seeds of all rows, is {shift.mean:+.4f} (95% interval "
        f"{shift.interval.text('+.4f')}, by a bootstrap of the seeds within each row)."
    )


def _parameter_counts(data: ReportData) -> list[Section]:
    """The course report's table 1; none beside trainings that are all on images of another size or other classes: its
    networks have other numbers of parameters there."""
    shapes = {row.config.data.shape for each in data.tables for row in each.rows}
    if shapes and CIFAR10.shape not in shapes:
        return []
    rows = [(name, f"{printed:,}", f"{parameters(Config(**change)):,}") for name, (printed, change) in SIZES.items()]
    return [Section(f"Table {PARAMETERS_NUMBER}. Parameters", [Grid(("network", "reported", "counted"), rows)])]


def _table(data: ReportData, reproduced: ReproducedTable) -> Section:
    table = reproduced.table
    header, *rows = reproduced.text_cells()
    write_csv(data.folder / f"table-{table.number}.csv", NUMBERS, reproduced.as_numbers())
    measured = "" if table.compares_errors else MEASURED
    note = [Text(said) for said in (measured, table.note) if said]
    return Section(table.heading, [Grid(header, rows), *_own_numbers(data, table), *note])


def _number(values: Sequence[float]) -> str:
    """The mean of the seeds' numbers; a large one, as a count is, without an exponent."""
    return mean_text(values, ".1f" if max(map(abs, values), default=0) >= 1000 else ".4g")


def _own_numbers(data: ReportData, table: ResolvedTable) -> list[Grid]:
    """What trainings of one's own return besides their loss; empty for a table without any."""
    numbers = own_numbers(table, data.trainings)
    if numbers is None:
        return []
    write_csv(data.folder / f"table-{table.number}-numbers.csv", OWN_NUMBERS, numbers.lines())
    rows = [
        (row, *(_number(list(of_row.get(name, {}).values())) for name in numbers.names))
        for row, of_row in numbers.rows.items()
    ]
    return [Grid(("numbers of the training, last epoch", *numbers.names), rows)]
