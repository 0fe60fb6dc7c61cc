"""Everything a person looks at, from the record alone: one HTML page, the same as Markdown, every picture and its CSV.

    python -m analysis.report docs/report --tracking-uri sqlite:///mlflow.db --experiment ablations-cifar10
    python -m analysis.report docs/report --folder docs/record

What the record lacks is said to be missing.
"""

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.curves import draw_curves, limits
from analysis.effects import HEADER, Effect, as_rows, draw_effects, effects
from analysis.figures import draw_tables
from analysis.findings import BATCH_NORM, BIGGER, SMALLER, claims, disagreements, in_short, lost_runs
from analysis.folder import Folder
from analysis.networks import envelope_section, kernel_section, smoothness_section, surface_section
from analysis.page import HTML, Block, Grid, Picture, Section, Text, write_page
from analysis.record import Record, Source, TrialRecord, best_of
from analysis.replicates import Replicates, replicates
from analysis.searching import base_of, listed, search_section
from analysis.style import write_csv
from analysis.tables import HELD_OUT, NUMBERS, ReproducedTable, latest_tables, reproduce
from trainable.architecture import parameters
from trainable.config import Config
from trainable.study import PlacedTable

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
LOSSY = "JPEG"
"""In a data set's form: its images are not pixel for pixel the official ones."""


@dataclass(frozen=True)
class Material:
    """What a report is made of."""

    source: Source
    folder: Path

    @cached_property
    def histories(self) -> list[TrialRecord]:
        """Every finished trial, with its whole history."""
        return self.source.histories()

    @cached_property
    def found(self) -> dict[str, Replicates]:
        """The complete trainings by key."""
        return replicates(self.histories)

    @cached_property
    def tables(self) -> list[PlacedTable]:
        """Every table once, as the latest sweep that ran it placed it."""
        return latest_tables(self.source.sweeps())

    @cached_property
    def compared(self) -> list[PlacedTable]:
        """The tables whose errors are shown: a surface's networks are those of other tables."""
        return [table for table in self.tables if table.measure != "surface"]

    @cached_property
    def filled(self) -> list[ReproducedTable]:
        """The tables of errors with what was reproduced."""
        return reproduce(self.compared, self.histories)

    @cached_property
    def effects(self) -> list[Effect]:
        """Each ablation's effect."""
        return effects([table for table in self.tables if not table.measure], self.found)

    @cached_property
    def searched(self) -> list[TrialRecord]:
        """The finished trials of the latest search: those that share its data and what it does not vary."""
        trials = [trial for trial in self.histories if trial.tags.get("study") == "search"]
        return [trial for trial in trials if base_of(trial) == base_of(trials[-1])]

    @property
    def data(self) -> str:
        """The data set."""
        return self.histories[0].config.data if self.histories else "no data"


def make_report(source: Source, folder: Path) -> Path:
    """Write the report into a folder and return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    material = Material(source, folder)
    makers = (_summary, _provenance, _tables, _curves, _effects, _kernels, _landscape, _search)
    sections = [section for make in makers for section in make(material)]
    write_page(f"Ablations on {material.data}", sections, folder)
    return folder / HTML


def _summary(material: Material) -> list[Section]:
    said = in_short(material.filled, material.effects, best_of(material.searched))
    return [Section("In short", [Text(line) for line in said])] if said else []


def _provenance(material: Material) -> list[Section]:
    """What the figures were made with: each distinct value of each tag."""
    shown = {row.key for table in material.tables for row in table.rows}
    trials = [trial for key, each in material.found.items() if key in shown for trial in each.trials]
    trials += [trial for trial in material.searched if trial.key not in shown]

    def values(tag: str) -> str:
        return ", ".join(dict.fromkeys(t.tags[tag] for t in trials if tag in t.tags)) or "missing"

    hours = sum(value for trial in trials for _, value in trial.metrics.get("epoch_s", [])) / 3600
    seeds = sorted({seed for trial in trials for seed in trial.seeds})
    epochs = sorted({trial.config.epochs for trial in trials})
    rows = [
        ("data", f"{values('data')}, form {values('data_form')}, fingerprint {values('data_fingerprint')}"),
        ("trials", f"{len(trials)}, seeds {listed(seeds)}, {listed(epochs)} epochs, {hours:.1f} slot hours"),
        ("hardware", values("device_name")),
        (
            "versions",
            ", ".join(f"{name} {values(name)}" for name in ("python", "torch", "torchvision", "ray", "mlflow")),
        ),
        ("commit", values("git_commit")),
    ]
    section = Section("What this is made of", [Grid(("", ""), rows)])
    if LOSSY in values("data_form"):
        section.blocks.append(
            Text(
                "The images were read from JPEG files: lossily re-encoded copies, on which errors can differ from "
                "those on the official files, which the report used."
            )
        )
    return [section]


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
            "twenty does not."
        )
    ]
    if ablations := [filled for filled in material.filled if not filled.table.measure]:
        file = draw_tables(ablations, material.folder / "tables.png")
        overview.append(Picture(file, "Test errors by row, reported and reproduced."))
    overview += [Text(line) for line in [*disagreements(material.filled), *lost_runs(material.filled)]]
    return [Section("Reported and reproduced", overview), *sections]


def _curves(material: Material) -> list[Section]:
    drawn = [table for table in material.compared if any(row.key in material.found for row in table.rows)]
    if not drawn:
        return [Section("Errors by epoch", [Text("Missing: no training of a table is recorded.")])]
    axes = limits(drawn, material.found)
    alone = [
        table.model_copy(update={"title": "Baseline", "number": "1", "rows": (row,)})
        for table in drawn[:1] for row in table.rows if row.config.is_baseline
    ]  # fmt: skip
    blocks: list[Block] = [
        Picture(
            draw_curves(table, material.found, material.folder / f"figure-{table.number}.png", axes),
            f"Figure {table.number}. {table.title}: error by epoch, the seeds' mean and range.",
        )
        for table in [*alone, *drawn]
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
    sections = [Section("Effects, paired by seed", blocks)]
    if any(filled.comparable for filled in material.filled):
        said = claims(material.tables, material.found, found)
        sections.append(Section("The report's claims against the data", said))
    return sections


def _kernels(material: Material) -> list[Section]:
    return [kernel_section(material.source, material.tables, material.found, material.folder)]


def _landscape(material: Material) -> list[Section]:
    makers = (envelope_section, smoothness_section, surface_section)
    return [make(material.source, material.tables, material.found, material.folder) for make in makers]


def _search(material: Material) -> list[Section]:
    plain = (each for each in material.found.values() if each.config.ablation == BATCH_NORM)
    return [search_section(material.searched, next(plain, None), material.folder)]


def main(
    out: Path,
    folder: Annotated[Path | None, typer.Option(help="An exported record, in place of a server.")] = None,
    tracking_uri: Annotated[str, typer.Option(help="MLflow server or store.")] = "sqlite:///mlflow.db",
    experiment: Annotated[str, typer.Option(help="MLflow experiment.")] = "ablations-cifar10",
) -> None:
    """Write the report of a record to the folder OUT."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for each small file
    try:
        source: Source = Folder(folder) if folder else Record(tracking_uri, experiment)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {folder}: not an exported record: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    if not source.sweeps():
        print(f"error: no sweep in experiment {experiment!r} of {tracking_uri}", file=sys.stderr)
        raise typer.Exit(2)
    print(make_report(source, out))


if __name__ == "__main__":
    typer.run(main)
