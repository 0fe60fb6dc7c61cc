"""The report's sections on the trained networks themselves: kernels (1.3.1) and the loss envelope (1.3.2, 2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.envelope import Envelope, draw_envelopes, envelope, gap_rows, gaps_header, ranges
from analysis.kernels import bound_of, draw_first_layer, draw_second_layer, fold
from analysis.page import Block, Grid, Picture, Section, Text
from analysis.record import PROBED, SURFACE_SEED, Source
from analysis.replicates import Replicates
from analysis.smoothness import SUMMARY_HEADER, draw_smoothness, medians, probe_steps, summary
from analysis.style import write_csv
from analysis.surface import draw_surfaces
from trainable.storage import SURFACE, TRACES, under
from trainable.study import PlacedTable

ENVELOPES = {"cnn": "loss envelope of the report's network", "vgg": "loss envelope of VGG-A"}
"""The start of the slugs of the tables compared in one picture, after `envelope-`."""


def kernel_section(
    source: Source, tables: Sequence[PlacedTable], found: Mapping[str, Replicates], folder: Path
) -> Section:
    """First and second layer of the baseline and of the network with batch norm, at the start and trained."""
    section = Section("Kernels")
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


def envelope_section(
    source: Source, tables: Sequence[PlacedTable], found: Mapping[str, Replicates], folder: Path
) -> Section:
    """The envelopes of each pair of networks, and their mean heights by range of epochs."""
    section = Section("Loss envelope: sensitivity to the learning rate")
    for kind, title in ENVELOPES.items():
        pair = [table for table in tables if table.slug.startswith(f"envelope-{kind}")]
        bands = [band for table in pair if (band := _band(source, table, found))]
        if not bands:
            section.blocks.append(Text(f"Missing: the {title}; its trainings are not all recorded."))
            continue
        rates = ", ".join(row.name for row in pair[0].rows)
        picture = draw_envelopes(bands, _where(pair[0]), rates, folder / f"envelope-{kind}.png")
        heights = [
            (band.name, seed, first, last, height)
            for band in bands
            for (first, last), by_seed in zip(ranges(band.epochs), band.gaps(), strict=True)
            for seed, height in by_seed.items()
        ]
        header = ("network", "seed", "first epoch", "last epoch", "mean height")
        write_csv(folder / f"envelope-{kind}-gaps.csv", header, heights)
        section.blocks += [
            Picture(picture, f"The {title}."),
            Text("Mean height of the band over ranges of epochs: the seeds' mean and half its 95% interval."),
            Grid(gaps_header(bands[0].epochs), gap_rows(bands)),
        ]
        if len(bands) < len(pair):
            section.blocks.append(Text("Missing: the other network of the pair; its trainings are not all recorded."))
    return section


def smoothness_section(
    source: Source, tables: Sequence[PlacedTable], found: Mapping[str, Replicates], folder: Path
) -> Section:
    """Santurkar's measurements of each pair of networks, the SGD arm and the Adam arm apart."""
    section = Section("Smoothness of the loss along the gradient")
    for table in (table for table in tables if table.measure == "probe"):
        arms: dict[str, dict[str, dict[int, np.ndarray]]] = {}
        steps = np.empty(0)
        for row in table.rows:
            name, _, arm = row.name.partition(", ")
            networks = arms.setdefault(arm, {})
            if probes := _traced(source, found.get(row.key), "probes"):
                networks[name] = probes
                losses = _traced(source, found[row.key], "step_losses")
                every = next(int(trial.tags[PROBED]) for trial in found[row.key].trials if PROBED in trial.tags)
                steps_an_epoch = len(losses[min(probes)]) // row.config.epochs
                steps = probe_steps(every, steps_an_epoch, row.config.epochs)
            if name not in networks:
                section.blocks.append(Text(f"Missing: {table.title}, {row.name}; no probed training is recorded."))
        for arm, networks in arms.items():
            section.blocks += _arm(f"{table.title}, {arm}, {_where(table)}", table, arm, networks, steps, folder)
    if not section.blocks:
        section.blocks.append(Text("Missing: no sweep with the study `smoothness` is recorded."))
    return section


def _arm(
    what: str,
    table: PlacedTable,
    arm: str,
    networks: Mapping[str, Mapping[int, np.ndarray]],
    steps: np.ndarray,
    folder: Path,
) -> list[Block]:
    """One optimizer's measurements: the picture of the lowest seed that all networks have, and all seeds' medians."""
    common = sorted(set.intersection(*(set(by_seed) for by_seed in networks.values()))) if networks else []
    if not common:
        return []
    stem = f"{table.slug}-{arm.split()[0].lower()}"
    title = f"{what}, seed {common[0]} of {len(common)}, {len(steps)} steps probed"
    first = {name: by_seed[common[0]] for name, by_seed in networks.items()}
    values = [
        (name, seed, *medians(measured)) for name, by_seed in networks.items() for seed, measured in by_seed.items()
    ]
    write_csv(folder / f"{stem}-medians.csv", ("network", "seed", *SUMMARY_HEADER[2:]), values)
    blocks: list[Block] = [
        Picture(draw_smoothness(first, steps, title, folder / f"{stem}.png"), f"{title}."),
        Grid(SUMMARY_HEADER, summary(networks)),
    ]
    if not arm.startswith("SGD"):
        blocks.append(Text("With Adam the gradient is not the step that is taken: compare the SGD arm with the paper."))
    return blocks


def surface_section(
    source: Source, tables: Sequence[PlacedTable], found: Mapping[str, Replicates], folder: Path
) -> Section:
    """The loss around the trained weights of the networks compared."""
    section = Section("Loss surfaces")
    for table in (table for table in tables if table.measure == "surface"):
        surfaces = {}
        for row in table.rows:
            for trial in found[row.key].trials if row.key in found else ():
                if arrays := source.arrays(trial, SURFACE):
                    surfaces[row.name] = arrays
        if surfaces:
            images = min(int(each["images"]) for each in surfaces.values())
            data = f"{images:,} train images of {table.rows[0].config.data}, seed {SURFACE_SEED}"
            files = draw_surfaces(surfaces, data, folder / table.slug)
            section.blocks += [
                Picture(
                    file,
                    f"Loss around the trained weights along {kind}, in evaluation mode; filter-normalised, biases and "
                    "batch norm left where they are, the same draws and scales for all.",
                )
                for file, kind in zip(files, ("one direction", "two directions"), strict=True)
            ]
        for row in table.rows:
            if row.name not in surfaces:
                section.blocks.append(Text(f"Missing: the surface of {row.name} is not recorded."))
    if not section.blocks:
        section.blocks.append(Text("Missing: no sweep with the study `surface` is recorded."))
    return section


def _where(table: PlacedTable) -> str:
    """What a table's networks were trained on, and for how long."""
    config = table.rows[0].config
    return f"{config.data}, {config.epochs} epoch{'s' * (config.epochs > 1)}, {config.precision}"


def _network(
    source: Source, tables: Sequence[PlacedTable], found: Mapping[str, Replicates], batch_norm: bool
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
            if layers := under("trained/", traces):
                return traces["kernels/epoch_0"], layers, f"{_where(table)}, seed {trial.seeds[0]}"
    return None


def _band(source: Source, table: PlacedTable, found: Mapping[str, Replicates]) -> Envelope | None:
    losses = [_traced(source, found.get(row.key), "step_losses") for row in table.rows]
    config = table.rows[0].config
    steps = max((len(values) for each in losses for values in each.values()), default=0) // config.epochs
    return envelope(table.title.partition(", ")[2], losses, steps)


def _traced(source: Source, trained: Replicates | None, kind: str) -> dict[int, np.ndarray]:
    """What was traced of that kind, by seed; of a seed trained again, in the first of its trainings that was traced."""
    traced: dict[int, np.ndarray] = {}
    for trial in trained.trials if trained else ():
        arrays = source.arrays(trial, TRACES)
        for seed in trial.seeds:
            if (name := f"{kind}/seed_{seed}") in arrays:
                traced.setdefault(seed, arrays[name])
    return traced
