"""The whole report from the record alone: an HTML page, the same as Markdown, every picture and its numbers as CSV, and
the tables as LaTeX.

    python -m analysis.report docs/report --tracking-uri sqlite:///mlflow.db --experiment ablations-cifar10
    python -m analysis.report docs/report --folder docs/record

What the record lacks is named as missing, and a section for which it has nothing is left out and named at the end.
"""

if __name__ == "__main__":
    from analysis.commandline.start import start

    start()

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from analysis.commandline.commands import command_line, run_command
from analysis.commandline.folders import named_write_failures
from analysis.commandline.record_options import EXPERIMENT, TRACKING_URI, Experiment, TrackingUri
from analysis.prices import parse_prices
from analysis.record.exported_record import ExportedRecord
from analysis.record.opening import open_swept
from analysis.record.recorded import Source
from analysis.report_data import ReportData
from analysis.sections import (
    costs,
    effects_of_changes,
    error_curves,
    files,
    gradient_smoothness,
    hyperparameter_search,
    interactions,
    loss_envelope,
    loss_surfaces,
    proof,
    provenance,
    reported_claims,
    reproduced_tables,
    rung_calibration,
    settings,
    summary,
    trained_kernels,
)
from analysis.statistics.effects import MARGIN
from analysis.writing.latex import LATEX, write_latex
from analysis.writing.page import HTML, Absent, Grid, Section, write_page
from trainable.errors import UsageError, first_line

app = command_line()

MakeSection = Callable[[ReportData], Section | Absent]

OPENING: tuple[MakeSection, ...] = (summary.section, reported_claims.section)
"""The sections that the page begins with, before its contents."""
SECTIONS: dict[str, tuple[MakeSection, ...]] = {
    "Results": (
        effects_of_changes.section,
        interactions.section,
        reproduced_tables.section,
        error_curves.section,
    ),
    "Search": (hyperparameter_search.section, proof.section, rung_calibration.section),
    "Networks and landscapes": (
        trained_kernels.section,
        loss_envelope.section,
        gradient_smoothness.section,
        loss_surfaces.section,
    ),
    "Provenance": (provenance.section, costs.section, settings.section, files.section),
}
"""The other sections by group, in their order. A new section is a module in `analysis/sections/` and a line here."""
LEFT_OUT = "Not in this report"
"""The title of the group that names the absent sections."""


def write_report(data: ReportData, *, embed: bool = False) -> Path:
    """Write the report of data that may be in use elsewhere, too. Returns the HTML page, which holds its pictures with
    `embed`, and else links to them."""
    data.folder.mkdir(parents=True, exist_ok=True)
    opened = [make(data) for make in OPENING]
    made = {title: [make(data) for make in sections] for title, sections in SECTIONS.items()}
    opening = _present(opened)
    groups = [Section(title, [], parts) for title, each in made.items() if (parts := _present(each))]
    if absent := [each for each in chain(opened, *made.values()) if isinstance(each, Absent)]:
        rows = [(each.title, each.why) for each in absent]
        groups.append(Section(LEFT_OUT, [Grid(("section", "because"), rows)]))
    write_latex([*opening, *groups], data.folder / LATEX)
    write_page(f"Ablations on {data.data_set}", opening, groups, data.folder, embed=embed)
    return data.folder / HTML


def _present(made: Iterable[Section | Absent]) -> list[Section]:
    return [each for each in made if isinstance(each, Section)]


@app.command()
def main(
    out: Path,
    folder: Annotated[Path | None, typer.Option(help="An exported record, in place of a server.")] = None,
    tracking_uri: TrackingUri = TRACKING_URI,
    experiment: Experiment = EXPERIMENT,
    margin: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Differences of the error below it do not matter.")
    ] = MARGIN,
    prices: Annotated[
        str, typer.Option(help="Money an hour, for what it took: gpu=PRICE,cpu=PRICE,head=PRICE, any of them.")
    ] = "",
    embed: Annotated[
        bool, typer.Option("--embed", help="Put the pictures into the HTML page, to send it alone.")
    ] = False,
) -> None:
    """Write the report of a record to the folder OUT."""
    try:
        priced = parse_prices(prices)
    except ValueError as error:
        raise UsageError(first_line(error)) from error
    source = _source(folder, tracking_uri, experiment)
    with named_write_failures(out):
        out.mkdir(parents=True, exist_ok=True)
    print(write_report(ReportData(source, out, margin, priced), embed=embed))


def _source(folder: Path | None, tracking_uri: str, experiment: str) -> Source:
    """The record to report on. Raises `UsageError` where there is none, or it cannot be read."""
    if folder:
        try:
            return ExportedRecord(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{folder}: not an exported record: {first_line(error)}") from error
    return open_swept(tracking_uri, experiment)


if __name__ == "__main__":
    run_command(app)
