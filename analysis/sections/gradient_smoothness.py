"""The smoothness of the loss along the gradient, without and with batch norm (the course report's section 2)."""

from dataclasses import astuple

from analysis.plots.gradient_bands import draw_smoothness
from analysis.report_data import ReportData
from analysis.smoothness import SUMMARY_HEADER, SmoothnessArm, medians, not_the_step, summary
from analysis.writing.csv_file import write_csv
from analysis.writing.page import Absent, Block, Grid, Picture, Section, Text
from trainable.measures import PROBE

TITLE = "Smoothness of the loss along the gradient"
ABOUT = (
    "At some steps of the training the loss and its gradient are measured again on the same mini-batch, after steps of "
    "1/2 to 4 times the learning rate along the negative gradient (Santurkar et al. 2018). This page shows three "
    "measurements: the range of these losses; gradient predictiveness, which is the distance of the gradient there "
    "from the one at the start; and effective beta-smoothness, which is that distance over the length of the step."
)
ABOUT_BETA = (
    "The paper takes the largest beta-smoothness over the steps. The shortest step alone can set it: where the "
    "gradient nearly vanishes after that step, it is about one over the step size. So that of the longest step stands "
    "beside it."
)


def section(data: ReportData) -> Section | Absent:
    """The measurements of each table and optimizer, a subsection each."""
    tables = [table for table in data.tables if table.measure == PROBE]
    if not tables:
        return Absent(TITLE, "no sweep with the study `smoothness` is recorded")
    made = Section(TITLE, [Text(ABOUT), Text(ABOUT_BETA)])
    recorded = {(arm.table.number, network.config) for arm in data.smoothness for network in arm.networks}
    made.blocks += [
        Text(f"Missing: {table.title}, {row.name}; no probed training is recorded.")
        for table in tables
        for row in table.rows
        if (table.number, row.config) not in recorded
    ]
    made.subsections = [Section(arm.title, _arm(data, arm)) for arm in data.smoothness]
    return made


def _arm(data: ReportData, arm: SmoothnessArm) -> list[Block]:
    """The picture of the lowest seed that all networks have, and the medians of all seeds."""
    values = [
        (network.name, seed, *astuple(medians(probes)))
        for network in arm.networks
        for seed, probes in network.probes.items()
    ]
    write_csv(data.folder / f"{arm.slug}-medians.csv", ("network", "seed", *SUMMARY_HEADER[2:]), values)
    blocks: list[Block] = []
    if seeds := arm.common_seeds:
        steps = {network.name: network.steps for network in arm.networks}
        probed = " or ".join(dict.fromkeys(str(len(each)) for each in steps.values()))
        title = f"{arm.description}, seed {seeds[0]}, the first of {len(seeds)}; {probed} steps probed"
        probes_of_seed = {network.name: network.probes[seeds[0]] for network in arm.networks}
        picture = draw_smoothness(probes_of_seed, steps, title, data.folder / f"{arm.slug}.png")
        blocks.append(Picture(picture, f"{title}."))
    blocks.append(Grid(SUMMARY_HEADER, summary({network.name: network.probes for network in arm.networks})))
    if text := not_the_step([arm]):
        blocks.append(Text(text))
    if arm.table.note:
        blocks.append(Text(arm.table.note))
    return blocks
