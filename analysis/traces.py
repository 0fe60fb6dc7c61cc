"""The report's sections on what was measured while training: the loss envelope and the smoothness (1.3.2, 2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.envelope import Envelope, difference, draw_envelopes, envelope, gap_rows, gaps_header, ranges
from analysis.intervals import as_text
from analysis.page import Block, Grid, Picture, Section, Text
from analysis.record import PROBED, Source
from analysis.replicates import Replicates
from analysis.smoothness import SUMMARY_HEADER, draw_smoothness, medians, probe_steps, summary
from analysis.style import write_csv
from analysis.tables import cell_of, setting
from trainable.measures import LOSSES, PROBE
from trainable.storage import TRACES
from trainable.study import ResolvedTable

NORMED = "-batch-norm"
"""The end of the slug of a pair's second table."""
LOST = " (lost at chance)"
ABOUT_ENVELOPE = (
    "One network is trained at each learning rate with the same batches; at every step the band reaches from the "
    "smallest to the largest of their losses on that mini-batch. A narrow band means that the learning rate matters "
    "little. Where the losses themselves are small the band is narrow for that reason alone: hence the ratio."
)
ABOUT_SMOOTHNESS = (
    "At some steps the loss and its gradient are measured again on the same mini-batch, after steps of 1/2 to 4 times "
    "the learning rate along the negative gradient (Santurkar et al. 2018). The range of these losses; gradient "
    "predictiveness, the distance of the gradient there from the one at the start; effective beta-smoothness, that "
    "distance over the length of the step. The paper takes the largest beta-smoothness, which the shortest step can "
    "set alone: where the gradient turns at once it is about one over that step. That of the longest step stands "
    "beside it."
)
NOT_THE_STEP = "With Adam the gradient is not the step that is taken: compare the SGD arm with the paper."
Probes = Mapping[str, Mapping[int, np.ndarray]]
"""By network and seed: (probes, step sizes, what is measured)."""


def envelope_section(
    source: Source, tables: Sequence[ResolvedTable], found: Mapping[str, Replicates], folder: Path
) -> Section:
    """The envelopes of each pair of networks, and their bands by range of epochs."""
    section = Section("Loss envelope: sensitivity to the learning rate", [Text(ABOUT_ENVELOPE)])
    pairs: dict[str, list[ResolvedTable]] = {}
    for table in tables:
        if table.measure == LOSSES.name:
            pairs.setdefault(table.slug.removesuffix(NORMED), []).append(table)
    for slug, pair in pairs.items():
        alike: dict[str, list[Envelope]] = {}
        for table in pair:
            if band := _band(source, table, found):
                alike.setdefault(setting(table.rows[0].config), []).append(band)
            else:
                section.blocks.append(Text(f"Missing: {table.title}; its trainings are not all recorded."))
        for place, (how, bands) in enumerate(alike.items()):
            section.blocks += _envelopes(bands, how, folder / (slug if place == 0 else f"{slug}-{place + 1}"))
            if len(bands) == 2:
                section.findings.append(_compared(bands[0], bands[1], how))
    if not pairs:
        section.blocks.append(Text("Missing: no sweep with the study `envelope` is recorded."))
    return section


def _envelopes(bands: Sequence[Envelope], how: str, stem: Path) -> list[Block]:
    """Networks that were trained alike: their bands and the numbers of these."""
    heights = [
        (band.name, seed, first, last, height)
        for band in bands
        for (first, last), by_seed in zip(ranges(band.epochs), band.gaps(), strict=True)
        for seed, height in by_seed.items()
    ]
    header = ("network", "seed", "first epoch", "last epoch", "mean height")
    write_csv(stem.with_name(f"{stem.name}-gaps.csv"), header, heights)
    worst = "; ".join(
        f"{band.name}: {rate} at {share:.0%} of the steps" for band in bands for rate, share in [band.worst]
    )
    names = " and ".join(band.name for band in bands)
    return [
        Picture(draw_envelopes(bands, how, stem.with_suffix(".png")), f"The loss envelope, {names}, {how}."),
        Text(
            f"The learning rate with the largest loss: {worst}. The band over ranges of epochs, the seeds' mean and "
            "half its 95% interval:"
        ),
        Grid(gaps_header(bands[0].epochs), gap_rows(bands)),
    ]


def _compared(plain: Envelope, norm: Envelope, how: str) -> str:
    first, last = ranges(plain.epochs)[-1]
    span = f"epochs {first} to {last}" if first < last else f"epoch {last}"
    heights = [as_text(list(band.gaps()[-1].values())) for band in (plain, norm)]
    ratios = [as_text(list(band.ratios()[-1].values()), ".2f") for band in (plain, norm)]
    change = difference(plain, norm)[-1]
    return (
        f"Loss envelope, {plain.name} ({how}), {span}: its mean height is {heights[0]} without and {heights[1]} with "
        f"batch norm (difference {as_text(list(change.values()), '+.4f') if change else '-'}, {len(change)} seed(s)), "
        f"the largest loss {ratios[0]} and {ratios[1]} times the smallest."
    )


def smoothness_section(
    source: Source, tables: Sequence[ResolvedTable], found: Mapping[str, Replicates], folder: Path
) -> Section:
    """Santurkar's measurements of each pair of networks, the SGD arm and the Adam arm apart."""
    section = Section("Smoothness of the loss along the gradient", [Text(ABOUT_SMOOTHNESS)])
    probed = [table for table in tables if table.measure == PROBE.name]
    for table in probed:
        arms: dict[str, dict[str, Mapping[int, np.ndarray]]] = {}
        steps: dict[str, np.ndarray] = {}
        for row in table.rows:
            name, _, arm = row.name.partition(", ")
            arm = arm or row.config.optimizer
            name += LOST * _lost(found.get(row.key))
            if probes := _traced(source, found.get(row.key), "probes"):
                arms.setdefault(arm, {})[name] = probes
                steps[arm] = _steps(source, found[row.key])
            else:
                section.blocks.append(Text(f"Missing: {table.title}, {row.name}; no probed training is recorded."))
        for arm, networks in arms.items():
            what = f"{table.title}, {arm}, {setting(table.rows[0].config)}"
            optimizer, rows = arm.split()[0].lower(), summary(networks)
            section.blocks += _arm(what, networks, steps[arm], folder / f"{table.slug}-{optimizer}")
            section.blocks.append(Grid(SUMMARY_HEADER, rows))
            if optimizer != "sgd":
                section.blocks.append(Text(NOT_THE_STEP))
            section.findings.append(
                f"{what}: range of the loss over the steps along the gradient, median over the training: "
                + ", ".join(f"{name} {loss}" for name, _, loss, *_ in rows)
                + "."
            )
    if not probed:
        section.blocks.append(Text("Missing: no sweep with the study `smoothness` is recorded."))
    return section


def _lost(trained: Replicates | None) -> bool:
    """Whether a training of these never left chance: what is measured along it says nothing of one that learns."""
    errors = cell_of(trained.by_seed(trained.config.held_out)) if trained else None
    return errors is not None and errors.lost


def _arm(what: str, networks: Probes, steps: np.ndarray, stem: Path) -> list[Block]:
    """One optimizer's measurements: the picture of the lowest seed that all networks have; all medians as a file."""
    values = [
        (name, seed, *medians(measured)) for name, by_seed in networks.items() for seed, measured in by_seed.items()
    ]
    write_csv(stem.with_name(f"{stem.name}-medians.csv"), ("network", "seed", *SUMMARY_HEADER[2:]), values)
    common = sorted(set.intersection(*(set(by_seed) for by_seed in networks.values())))
    if not common:
        return []
    title = f"{what}, seed {common[0]}, the first of {len(common)}; {len(steps)} steps probed"
    first = {name: by_seed[common[0]] for name, by_seed in networks.items()}
    return [Picture(draw_smoothness(first, steps, title, stem.with_suffix(".png")), f"{title}.")]


def _steps(source: Source, trained: Replicates) -> np.ndarray:
    """The steps that were probed."""
    every = next(int(trial.tags[PROBED]) for trial in trained.trials if PROBED in trial.tags)
    losses = next(iter(_traced(source, trained, "step_losses").values()))
    return probe_steps(every, len(losses) // trained.config.epochs, trained.config.epochs)


def _band(source: Source, table: ResolvedTable, found: Mapping[str, Replicates]) -> Envelope | None:
    losses = {row.name: _traced(source, found.get(row.key), "step_losses") for row in table.rows}
    steps = max((len(values) for each in losses.values() for values in each.values()), default=0)
    return envelope(table.title.partition(", ")[2] or table.title, losses, steps // table.rows[0].config.epochs)


def _traced(source: Source, trained: Replicates | None, kind: str) -> dict[int, np.ndarray]:
    """What was traced of that kind, by seed; of a seed trained again, in the first of its trainings that was traced."""
    traced: dict[int, np.ndarray] = {}
    for trial in trained.trials if trained else ():
        arrays = source.arrays(trial, TRACES)
        for seed in trial.seeds:
            if (name := f"{kind}/seed_{seed}") in arrays:
                traced.setdefault(seed, arrays[name])
    return traced
