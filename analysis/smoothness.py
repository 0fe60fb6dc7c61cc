"""How smooth the loss is along the gradient while training (Santurkar et al. 2018, arXiv 1805.11604, section 3.2).

At some steps the loss and the gradient are measured again after steps of several sizes along the negative gradient. A
training's probes are (probes, step sizes, 3): the loss there, the distance of the gradient from the one at the start,
and that distance over the length of the step (effective beta-smoothness).
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from analysis.record.arrays import probe_interval, traced
from analysis.record.recorded import Source
from analysis.record.replicates import Replicates
from analysis.statistics.cells import ended_at_chance
from analysis.statistics.intervals import mean_text
from analysis.tables import capital, network_name
from analysis.writing.words import listed
from trainable.config import Config
from trainable.files import PROBES, STEP_LOSSES
from trainable.measures import PROBE
from trainable.own_code.code_file import CodeFile
from trainable.study import ResolvedTable

SUMMARY_HEADER = (
    "median over the steps", "seeds", "range of the loss", "range of gradient predictiveness",
    "largest beta-smoothness", "beta-smoothness at the longest step",
)  # fmt: skip
AT_CHANCE = " (at chance)"
OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}
"""Names that are not the config's with a capital."""


@dataclass(frozen=True)
class ProbeMedians:
    """Medians over the probes of a training, or the mean of several trainings' medians."""

    loss_range: float
    """The largest minus the smallest loss over the step sizes."""
    predictiveness_range: float
    """The largest minus the smallest distance of the gradient from the one at the start, over the step sizes."""
    largest_beta: float
    """The largest effective beta-smoothness over the step sizes."""
    longest_beta: float
    """Effective beta-smoothness at the longest step."""


@dataclass(frozen=True)
class ProbedNetwork:
    """A network of an arm."""

    name: str
    """As in the table, without the optimizer. It says where a training ended at chance, because the probes of such a
    training say nothing of one that learns."""
    config: Config
    probes: dict[int, np.ndarray]
    """By seed."""
    steps: np.ndarray
    """The training steps that were probed, (probes,). A network with other epochs or another batch size has others."""
    ended_at_chance: bool


@dataclass(frozen=True)
class SmoothnessArm:
    """The networks of a table that were trained with one optimizer, and probed."""

    table: ResolvedTable
    optimizer: str
    """The name and the learning rate, as `SGD 0.1`."""
    networks: tuple[ProbedNetwork, ...]

    @property
    def slug(self) -> str:
        """For file names."""
        return f"{self.table.slug}-{self.optimizer.lower().replace(' ', '-')}"

    @property
    def description(self) -> str:
        """The title with what was measured."""
        return f"{self.table.title}, {self.optimizer}, {self.setting}"

    @property
    def title(self) -> str:
        """The network, the optimizer and how it was trained."""
        return capital(f"{network_name(self.table)}, {self.optimizer}, {self.setting}")

    @property
    def setting(self) -> str:
        """The data, the epochs and the precision; each once, where they differ."""
        return " and ".join(dict.fromkeys(network.config.setting for network in self.networks))

    @property
    def by_sgd(self) -> bool:
        """Whether the gradient is the step that the training takes, as in the paper."""
        return all(each.config.optimizer == "sgd" and each.config.weight_decay == 0 for each in self.networks)

    @property
    def common_seeds(self) -> list[int]:
        """The seeds that all networks have, ascending."""
        return sorted(set.intersection(*(set(network.probes) for network in self.networks)))


def smoothness_arms(
    source: Source, tables: Sequence[ResolvedTable], trainings: Mapping[str, Replicates]
) -> list[SmoothnessArm]:
    """The recorded arms of each probed table; a row whose probes are not recorded is left out."""
    arms = []
    for table in tables:
        if table.measure != PROBE:
            continue
        networks: dict[str, list[ProbedNetwork]] = {}
        for row in table.rows:
            optimizer = _optimizer(row.config)
            if not (training := trainings.get(row.key)):
                continue
            probes, losses = (traced(source, training, name) for name in (PROBES, STEP_LOSSES))
            if probes and losses and (every := probe_interval(training)):
                at_chance = ended_at_chance(training)
                name = row.name.removesuffix(f", {optimizer}") + AT_CHANCE * at_chance
                epochs = training.config.epochs
                steps_an_epoch = len(next(iter(losses.values()))) // epochs
                steps = probe_steps(every, steps_an_epoch, epochs)
                network = ProbedNetwork(name, row.config, probes, steps, at_chance)
                networks.setdefault(optimizer, []).append(network)
        arms += [SmoothnessArm(table, arm, tuple(each)) for arm, each in networks.items()]
    return arms


def not_the_step(arms: Sequence[SmoothnessArm]) -> str:
    """Which arms do not measure along the step that is taken, in a sentence; empty where all do."""
    names = list(dict.fromkeys(arm.optimizer for arm in arms if not arm.by_sgd))
    if not names:
        return ""
    return (
        f"With {listed(names)} the gradient is not the step that is taken: only SGD without weight decay is "
        "comparable with the paper."
    )


def _optimizer(config: Config) -> str:
    """Its name and learning rate, as `SGD 0.1`."""
    if isinstance(config.optimizer, CodeFile):
        name = f"{config.optimizer} ({config.optimizer_arguments})"
    else:
        name = OPTIMIZERS.get(config.optimizer, config.optimizer.capitalize())
    return f"{name} {config.lr:g}"


def probe_steps(every: int, steps_an_epoch: int, epochs: int) -> np.ndarray:
    """The steps of a training that were probed: every so many, counted anew in each epoch."""
    return (steps_an_epoch * np.arange(epochs)[:, None] + np.arange(0, steps_an_epoch, every)).ravel()


def summary(probes: Mapping[str, Mapping[int, np.ndarray]]) -> list[list[str]]:
    """The cells of a table whose header is `SUMMARY_HEADER`, a row for each network. `probes` maps a network to its
    probes by seed. Each cell is the mean of the seeds' medians with its interval."""
    rows = []
    for name, by_seed in probes.items():
        values = [astuple(medians(measured)) for measured in by_seed.values()]
        rows.append([name, str(len(by_seed)), *(mean_text(each, ".4g") for each in zip(*values, strict=True))])
    return rows


def medians(measured: np.ndarray) -> ProbeMedians:
    """The medians over one training's probes, (probes, step sizes, 3). At a learning rate of 0 there is no step, and no
    smoothness."""
    low, high = measured.min(1), measured.max(1)
    return ProbeMedians(*np.nanmedian([*(high - low)[:, :2].T, high[:, 2], measured[:, -1, 2]], axis=1).tolist())
