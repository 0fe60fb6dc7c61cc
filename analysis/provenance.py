"""The report's sections on what its figures were made with, and on what was trained."""

from statistics import median
from typing import Any

from analysis.material import Material
from analysis.page import Block, Grid, Section, Text
from analysis.searching import listed
from trainable.config import Config

LOSSY = "JPEG"
"""In a data set's form: its images are not pixel for pixel the official ones."""


def provenance(material: Material) -> list[Section]:
    """What the figures were made with: each distinct value of each tag."""
    shown = {row.key for table in material.tables for row in table.rows}
    trials = [trial for key, each in material.found.items() if key in shown for trial in each.trials]
    trials += [trial for trial in material.searched if trial.key not in shown]

    def values(tag: str) -> str:
        return ", ".join(dict.fromkeys(t.tags[tag] for t in trials if tag in t.tags)) or "missing"

    spreads = [s for each in material.found.values() for s in each.spreads(each.config.held_out) if each.key in shown]
    hours = sum(value for trial in trials for _, value in trial.histories.get("epoch_s", [])) / 3600
    seeds = sorted({seed for trial in trials for seed in trial.seeds})
    epochs = sorted({trial.config.epochs for trial in trials})
    rows = [
        ("data", f"{values('data')}, form {values('data_form')}, fingerprint {values('data_fingerprint')}"),
        ("trials", f"{len(trials)}; seeds {listed(seeds)}; epochs {listed(epochs)}; {hours:.1f} slot hours"),
        ("precision", ", ".join(sorted({trial.config.precision for trial in trials}))),
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
                "those on the official files, which the report used. Whether a shift of all test errors comes from "
                "that was not tested."
            )
        )
    if spreads:
        section.blocks.append(
            Text(
                f"{len(spreads)} pairs of config and seed were trained more than once, for what is measured beside the "
                f"errors or on other hardware: their last errors lie {median(spreads):.4f} apart in the median, "
                f"{max(spreads):.4f} at most. A seed fixes the initial weights and the order of the batches, no more. "
                "Errors are those of the first training, what was measured beside them that of the first that "
                "measured it."
            )
        )
    return [section]


def settings(material: Material) -> list[Section]:
    """The baseline in full, and what each row changes in it."""
    base = next((row.config for table in material.tables for row in table.rows if row.config.is_baseline), None)
    if base is None:
        return []
    fields = [
        (name, _plain(getattr(base, name)), " ".join((field.description or "").replace("`", "").split()))
        for name, field in Config.model_fields.items()
    ]
    changes = [
        (table.number, row.name, ", ".join(f"{name} {_plain(value)}" for name, value in row.config.ablation.items()))
        for table in material.tables for row in table.rows if not row.config.is_baseline
    ]  # fmt: skip
    how = Text(
        "Images are scaled to [-1, 1]; weights start as PyTorch initialises them; nothing is augmented where the "
        "settings do not say so."
    )
    blocks: list[Block] = [
        Grid(("setting", "baseline", "meaning"), fields),
        how,
        Grid(("table", "row", "changes"), changes),
    ]
    return [Section("Settings", blocks)]


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
