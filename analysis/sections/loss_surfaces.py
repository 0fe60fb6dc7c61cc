"""The loss around the trained weights, without and with batch norm (the course report's section 1.3.2)."""

from collections.abc import Mapping

import numpy as np

from analysis.plots.loss_grid import draw_surfaces
from analysis.record.arrays import LossSurface, loss_surface
from analysis.report_data import ReportData
from analysis.writing.page import Absent, Grid, Picture, Section, Text
from trainable.measures import LOSS_SURFACE, SURFACE_SEED

TITLE = "Loss surfaces"
ABOUT = (
    "The loss is computed in evaluation mode on a grid of points around the trained weights (Li et al. 2018). The "
    "directions are random, and each filter of a direction is as long as that filter of the weights. Biases and batch "
    "norm stay as they are. The networks share the seed of the directions and the axes. The running statistics of "
    "batch norm stay those of the trained weights, which no longer fit elsewhere: this causes some of the rise with "
    "batch norm."
)
DISTANCES = (0.0, 0.2, 0.4, 1.0)
"""From the trained weights, in filter norms: where the table has loss and error."""
ABOUT_HEIGHTS = (
    "Loss, and error in brackets, by distance from the trained weights along the first direction: the mean of both "
    "sides. There is one training and one direction of each network: this describes the pictures, and other trainings "
    "may differ."
)


def section(data: ReportData) -> Section | Absent:
    """The surfaces of the networks that each table compares."""
    tables = [table for table in data.tables if table.measure == LOSS_SURFACE]
    if not tables:
        return Absent(TITLE, "no sweep with the study `surface` is recorded")
    made = Section(TITLE, [Text(ABOUT)])
    for table in tables:
        recorded = {row.name: loss_surface(data.source, data.trainings.get(row.key)) for row in table.rows}
        surfaces = {name: surface for name, surface in recorded.items() if surface}
        if surfaces:
            one = next(iter(surfaces.values()))
            what = f"{one.images:,} train images of {table.rows[0].config.data}, seed {SURFACE_SEED}"
            files = draw_surfaces(surfaces, what, data.folder / table.slug)
            alphas, betas = len(one.alphas), len(one.betas)
            along = (f"one direction, {alphas} points", f"two directions, {alphas} x {betas} points")
            made.blocks += [
                Picture(file, f"The loss around the trained weights along {kind}: {what} for training and directions.")
                for file, kind in zip(files, along, strict=True)
            ]
            made.blocks += [Text(ABOUT_HEIGHTS), _heights(surfaces)]
        made.blocks += [
            Text(f"Missing: the surface of {name} is not recorded.") for name in recorded if name not in surfaces
        ]
    return made


def _heights(surfaces: Mapping[str, LossSurface]) -> Grid:
    rows = []
    for name, each in surfaces.items():
        points = [[-distance, distance] for distance in DISTANCES]
        loss, error = (np.interp(points, each.alphas, along).mean(1) for along in (each.loss_along, each.error_along))
        rows.append((name, *(f"{a:.2f} ({b:.3f})" for a, b in zip(loss, error, strict=True))))
    return Grid(("network", *(f"{distance:g} away" if distance else "at the weights" for distance in DISTANCES)), rows)
