"""The report's sections on trained networks: their kernels (1.3.1) and the loss around their weights (1.3.2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.kernels import bound_of, draw_first_layer, draw_second_layer, fold
from analysis.page import Picture, Section, Text
from analysis.record import Source
from analysis.replicates import Replicates
from analysis.surface import draw_surfaces
from analysis.tables import setting
from trainable.measures import LOSS_SURFACE, SURFACE_SEED
from trainable.storage import SURFACE, TRACES, entries_under
from trainable.study import ResolvedTable

ABOUT_KERNELS = (
    "On one scale for all, a kernel that has died is grey; each on its own scale shows the shape of weak ones. The "
    "scale before batch norm is arbitrary: folded in, the kernels are those that the trained network applies to an "
    "image. Scales differ from network to network."
)
ABOUT_SURFACES = (
    "The loss in evaluation mode on a grid of points around the trained weights, along random directions with the norm "
    "of each filter of the weights (Li et al. 2018); biases and batch norm stay as they are, and the networks share "
    "the directions' seed and the axes. The running statistics of batch norm stay those of the trained weights: some "
    "of the rise with batch norm is that they no longer fit."
)


def kernel_section(
    source: Source, tables: Sequence[ResolvedTable], found: Mapping[str, Replicates], folder: Path
) -> Section:
    """First and second layer of the baseline and of the network with batch norm, at the start and trained."""
    section = Section("Kernels", [Text(ABOUT_KERNELS)])
    for name, batch_norm in (("baseline", False), ("batch norm", True)):
        trained = _network(source, tables, found, batch_norm)
        if trained is None:
            section.blocks.append(Text(f"Missing: the record has no kernels of the {name} network."))
            continue
        start, layers, where = trained
        bound = bound_of(start, layers["conv1.weight"])
        stages = {"start": (start, bound), "trained": (layers["conv1.weight"], bound)}
        if batch_norm:
            folded = fold(layers)
            stages["trained, batch norm folded in"] = folded, bound_of(folded)
        slug = name.replace(" ", "-")
        first = draw_first_layer(stages, f"First layer, {name}, {where}", folder / f"kernels-1-{slug}.png")
        second = draw_second_layer(
            layers["conv2.weight"], f"Second layer, {name}, {where}", folder / f"kernels-2-{slug}.png"
        )
        section.blocks += [
            Picture(first, f"First-layer filters of the {name} network, as RGB, with their norms."),
            Picture(second, f"Second-layer kernels of the {name} network."),
        ]
    return section


def surface_section(
    source: Source, tables: Sequence[ResolvedTable], found: Mapping[str, Replicates], folder: Path
) -> Section:
    """The loss around the trained weights of the networks compared."""
    section = Section("Loss surfaces", [Text(ABOUT_SURFACES)])
    for table in (table for table in tables if table.measure == LOSS_SURFACE.name):
        surfaces = {}
        for row in table.rows:
            own = (source.arrays(trial, SURFACE) for trial in (found[row.key].trials if row.key in found else ()))
            if arrays := next(filter(None, own), None):
                surfaces[row.name] = arrays
        if surfaces:
            one = next(iter(surfaces.values()))
            points = f"{len(one['alphas'])} x {len(one['betas'])} points"
            data = f"{points}, {int(one['images']):,} train images of {table.rows[0].config.data}, seed {SURFACE_SEED}"
            files = draw_surfaces(surfaces, data, folder / table.slug)
            section.blocks += [
                Picture(
                    file,
                    f"Loss around the trained weights along {kind}: {data} (of the training and of the directions).",
                )
                for file, kind in zip(files, ("one direction", "two directions"), strict=True)
            ]
        for row in table.rows:
            if row.name not in surfaces:
                section.blocks.append(Text(f"Missing: the surface of {row.name} is not recorded."))
    if not any(table.measure == LOSS_SURFACE.name for table in tables):
        section.blocks.append(Text("Missing: no sweep with the study `surface` is recorded."))
    return section


def _network(
    source: Source, tables: Sequence[ResolvedTable], found: Mapping[str, Replicates], batch_norm: bool
) -> tuple[np.ndarray, dict[str, np.ndarray], str] | None:
    """Of the lowest seed whose traces are recorded: first-layer kernels at the start, the first layers when trained
    (by name, as `conv1.weight`), and what was trained."""
    own = {
        row.key: table for table in tables for row in table.rows
        if row.key in found and row.config.ablation == ({"batch_norm": True} if batch_norm else {})
    }  # fmt: skip
    for key, table in own.items():
        for trial in sorted(found[key].trials, key=lambda trial: trial.seeds):
            traces = source.arrays(trial, TRACES)
            if layers := entries_under("trained/", traces):
                return traces["kernels/epoch_0"], layers, f"{setting(table.rows[0].config)}, seed {trial.seeds[0]}"
    return None
