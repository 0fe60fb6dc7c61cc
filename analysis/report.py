"""Everything a person looks at, from the record alone: one HTML page, the same as Markdown, every picture and its CSV.

    python -m analysis.report docs/report --tracking-uri sqlite:///mlflow.db --experiment ablations-cifar10
    python -m analysis.report docs/report --folder docs/record

What the record lacks is said to be missing.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from mlflow.exceptions import MlflowException

from analysis.curves import draw_curves, limits
from analysis.effects import HEADER, as_rows, draw_effects
from analysis.figures import draw_tables
from analysis.findings import BATCH_NORM, BIGGER, SMALLER, agreement, claims, disagreements, established, lost_runs
from analysis.folder import Folder
from analysis.material import Material
from analysis.networks import kernel_section, surface_section
from analysis.page import HTML, Block, Grid, Picture, Section, Text, write_page
from analysis.provenance import provenance, settings
from analysis.record import SQLITE, Record, Source
from analysis.searching import search_section
from analysis.style import write_csv
from analysis.tables import HELD_OUT, NUMBERS, ReproducedTable
from analysis.traces import envelope_section, smoothness_section
from trainable.architecture import parameters
from trainable.config import Config

SIZES: dict[str, tuple[int, dict[str, Any]]] = {
    "baseline": (285_162, {}),
    "smaller": (18_210, SMALLER),
    "bigger": (4_538_250, BIGGER),
    "batch norm": (285_770, BATCH_NORM),
    "bigger with batch norm": (4_540_682, {**BIGGER, **BATCH_NORM}),
    "VGG-A": (9_750_922, {"network": "vgg-a"}),
    "VGG-A with batch norm": (9_758_474, {"network": "vgg-a", "batch_norm": True}),
}
"""The report's table 1: parameters by network."""


def make_report(source: Source, folder: Path) -> Path:
    """Write the report into a folder and return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    material = Material(source, folder)
    makers = (provenance, _tables, _curves, _effects, _kernels, _landscape, _search, settings)
    sections = [section for make in makers for section in make(material)]
    findings = [Text(finding) for section in sections for finding in section.findings]
    first = [Section("In short", list(findings))] if findings else []
    write_page(f"Ablations on {material.data}", [*first, *sections], folder)
    return folder / HTML


def _tables(material: Material) -> list[Section]:
    sizes = [(name, f"{printed:,}", f"{parameters(Config(**change)):,}") for name, (printed, change) in SIZES.items()]
    sections = [Section("Table 1. Parameters", [Grid(("network", "reported", "counted"), sizes)])]
    for filled in material.filled:
        header, *rows = filled.as_text()
        write_csv(material.folder / f"table-{filled.table.number}.csv", NUMBERS, filled.as_numbers())
        blocks: list[Block] = [Grid(header, rows)]
        if filled.table.note:
            blocks.append(Text(filled.table.note))
        sections.append(Section(f"Table {filled.table.number}. {filled.table.title}", blocks))
    overview: list[Block] = [
        Text(
            "Each error is the seeds' mean of each one's minimum over the epochs, as the report prints it, ± half "
            "the 95% interval of the mean, and the epoch of each minimum. Choosing the epoch on the test split makes "
            "that column optimistic; the error after the last epoch stands beside it. A printed figure counts as "
            "reproduced where it lies in the 95% prediction interval of one more of our runs, which by chance one in "
            "twenty does not. Each row's interval rests on its own few seeds: a narrow one refutes easily, a wide one "
            "holds much. All intervals are of training again; the test split is the same, and its "
            "10,000 images alone leave an error of 0.3 uncertain by 0.009."
        )
    ]
    if ablations := [filled for filled in material.filled if not filled.table.measure]:
        file = draw_tables(ablations, material.folder / "tables.png")
        overview.append(Picture(file, "Errors by row, reported and reproduced."))
    overview += [Text(line) for line in [*disagreements(material.filled), *lost_runs(material.filled)]]
    return [Section("Reported and reproduced", overview, agreement(material.filled)), *sections]


def _curves(material: Material) -> list[Section]:
    drawn = [
        filled
        for filled in material.filled
        if any(row.key in material.found and row.config.epochs > 1 for row in filled.table.rows)
    ]
    if not drawn:
        return [Section("Errors by epoch", [Text("Missing: no training of a table is recorded.")])]
    axes = limits(drawn, material.found)
    named = {"title": "Baseline", "number": "1", "varies": "network"}
    alone = [
        ReproducedTable(filled.table.model_copy(update=named), (row,))
        for filled in drawn[:1] for row, placed in zip(filled.rows, filled.table.rows, strict=True)
        if placed.config.is_baseline
    ]  # fmt: skip
    blocks: list[Block] = [
        Picture(
            draw_curves(filled, material.found, material.folder / f"figure-{filled.table.number}.png", axes),
            f"Figure {filled.table.number}. {filled.table.title}: error by epoch, the seeds' mean and range.",
        )
        for filled in [*alone, *drawn]
    ]
    return [Section("Errors by epoch", blocks)]


def _effects(material: Material) -> list[Section]:
    found = material.effects
    if not found:
        return [Section("Effects, paired by seed", [Text("Missing: the record has nothing to compare.")])]
    error = HELD_OUT[material.tables[0].rows[0].config.held_out]
    picture = draw_effects(found, f"{error} on {material.data}", material.folder / "effects.png")
    text = Text(
        f"The {error} after the last epoch minus that of what a change is compared with, of the same seed, the largest "
        "gain first. Each interval is a 95% interval of its own, not corrected for their number; p values are "
        "corrected by Holm's method over the changes of a study that are tested. Below two seeds there is no interval "
        "and no test; Wilcoxon's test cannot go below p = 0.25 with three seeds, 0.06 with five."
    )
    blocks: list[Block] = [text, Picture(picture, "Effect of each change."), Grid(HEADER, as_rows(found))]
    sections = [Section("Effects, paired by seed", blocks, established(found))]
    if comparable := [filled.table for filled in material.filled if filled.comparable]:
        said = claims(comparable, material.found, found)
        sections.append(Section("The report's claims against the data", said))
    return sections


def _kernels(material: Material) -> list[Section]:
    return [kernel_section(material.source, material.tables, material.found, material.folder)]


def _landscape(material: Material) -> list[Section]:
    makers = (envelope_section, smoothness_section, surface_section)
    return [make(material.source, material.tables, material.found, material.folder) for make in makers]


def _search(material: Material) -> list[Section]:
    return [search_section(material.searched, material.searched_for, material.folder)]


def main(
    out: Path,
    folder: Annotated[Path | None, typer.Option(help="An exported record, in place of a server.")] = None,
    tracking_uri: Annotated[
        str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server or store.")
    ] = "sqlite:///mlflow.db",
    experiment: Annotated[
        str, typer.Option(envvar="MLFLOW_EXPERIMENT_NAME", help="MLflow experiment.")
    ] = "ablations-cifar10",
) -> None:
    """Write the report of a record to the folder OUT."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for each small file
    try:
        source = _source(folder, tracking_uri, experiment)
    except (LookupError, MlflowException) as error:
        print(f"error: {str(error.args[0]).splitlines()[0]}", file=sys.stderr)
        raise typer.Exit(2) from error
    print(make_report(source, out))


def _source(folder: Path | None, tracking_uri: str, experiment: str) -> Source:
    """The record to report on. Raises `LookupError` where there is none, `MlflowException` where no server answers."""
    if folder:
        try:
            return Folder(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LookupError(f"{folder}: not an exported record: {error}") from error
    none = LookupError(f"no sweep in experiment {experiment!r} of {tracking_uri}")
    if tracking_uri.startswith(SQLITE) and not Path(tracking_uri.removeprefix(SQLITE)).exists():
        raise none  # MLflow would make the database
    source = Record(tracking_uri, experiment)
    if not source.sweeps():
        raise none
    return source


if __name__ == "__main__":
    typer.run(main)
