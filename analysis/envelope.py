"""The loss envelope (the course report's section 1.3.2): how much the mini-batch loss depends on the learning rate.

One network is trained at several learning rates with the same batches. At every step the band reaches from the smallest
to the largest of their losses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.record.arrays import traced
from analysis.record.recorded import Source
from analysis.record.replicates import Replicates
from analysis.statistics.intervals import mean_text
from analysis.tables import HELD_OUT, network_name
from trainable.config import Config
from trainable.files import STEP_LOSSES
from trainable.measures import LOSSES
from trainable.study import ResolvedTable

RANGE_STARTS = (1, 2, 6, 11, 21, 51)
"""The first epochs of the ranges over which a band's height is averaged."""
LEAST = 1e-4
"""A smaller mini-batch loss counts as this in ratios."""
ByRange = list[dict[int, float]]
"""A value by seed for each of a training's `ranges`."""


def ranges(epochs: int) -> list[tuple[int, int]]:
    """The first and the last epoch of each range of a training of so many epochs."""
    starts = [start for start in RANGE_STARTS if start <= epochs]
    return list(zip(starts, [*(start - 1 for start in starts[1:]), epochs], strict=True))


def gaps_header(epochs: int) -> list[str]:
    """The header of `gap_rows`."""
    return ["network", "band", "seeds", *(range_text(*each) for each in ranges(epochs))]


def range_text(first: int, last: int) -> str:
    """A range of epochs in words."""
    return f"epoch {first}" if first == last else f"epochs {first} to {last}"


@dataclass(frozen=True)
class Envelope:
    """A network's mini-batch losses at every learning rate."""

    name: str
    rates: tuple[str, ...]
    seeds: tuple[int, ...]
    losses: np.ndarray
    """(rates, seeds, steps)."""
    steps_an_epoch: int

    @property
    def low(self) -> np.ndarray:
        """The lower bound of the band, (seeds, steps)."""
        return self.losses.min(0)

    @property
    def high(self) -> np.ndarray:
        """The upper bound of the band, (seeds, steps)."""
        return self.losses.max(0)

    @property
    def epochs(self) -> int:
        """How many epochs each training ran."""
        return self.losses.shape[2] // self.steps_an_epoch

    @property
    def worst(self) -> tuple[str, float]:
        """The learning rate that has the largest loss most often, and at what share of the steps."""
        counts = np.bincount(self.losses.argmax(0).ravel(), minlength=len(self.rates))
        return self.rates[counts.argmax()], float(counts.max() / counts.sum())

    def without(self, rate: str) -> "Envelope":
        """The envelope without one of its learning rates."""
        kept = [index for index, each in enumerate(self.rates) if each != rate]
        return replace(self, rates=tuple(self.rates[index] for index in kept), losses=self.losses[kept])

    def gaps(self) -> ByRange:
        """The band's mean height by seed, for each of the training's `ranges`."""
        return self._by_range(self.high - self.low, np.mean)

    def ratios(self) -> ByRange:
        """The geometric mean of the largest loss over the smallest by seed, for each of the training's `ranges`. Unlike
        the height it does not depend on how small the losses are."""
        bounds = (np.log(np.maximum(bound, LEAST)) for bound in (self.high, self.low))
        return self._by_range(np.subtract(*bounds), lambda logs, axis: np.exp(logs.mean(axis)))

    def _by_range(self, values: np.ndarray, average: Callable) -> ByRange:
        steps = self.steps_an_epoch
        parts = [values[:, (first - 1) * steps : last * steps] for first, last in ranges(self.epochs)]
        return [dict(zip(self.seeds, average(part, axis=1).tolist(), strict=True)) for part in parts]


def envelope(name: str, losses: Mapping[str, Mapping[int, np.ndarray]], steps_an_epoch: int) -> Envelope | None:
    """The envelope of one network. `losses` maps each learning rate to the seeds' losses, (steps,) each.

    A seed that a learning rate lacks is left out. None where no seed is left.
    """
    seeds = sorted(set.intersection(*(set(each) for each in losses.values()))) if losses else []
    if not seeds:
        return None
    stacked = np.array([[each[seed] for seed in seeds] for each in losses.values()])
    return Envelope(name, tuple(losses), tuple(seeds), stacked, steps_an_epoch)


def difference(first: ByRange, second: ByRange) -> ByRange:
    """What the second band has minus what the first has, for the seeds of both."""
    return [{seed: b[seed] - a[seed] for seed in a.keys() & b.keys()} for a, b in zip(first, second, strict=True)]


def gap_rows(envelopes: Sequence[Envelope]) -> list[list[str]]:
    """The cells of a table whose header is `gaps_header`.

    The rows are each network's mean heights, these without the learning rate that most often bounds the first network's
    band, and the ratios of the bounds. Where there are two networks, the differences of heights and ratios follow them.
    """
    height = "mean height"
    worst, _ = envelopes[0].worst
    without = [
        _gap_row(each.name, f"{height}, without {worst}", each.without(worst).gaps(), ".4f")
        for each in envelopes
        if set(each.rates) - {worst}
    ]
    return [
        *_compared_rows(envelopes, height, [each.gaps() for each in envelopes], ".4f"),
        *without,
        *_compared_rows(envelopes, "largest over smallest loss", [each.ratios() for each in envelopes], ".2f"),
    ]


def _compared_rows(envelopes: Sequence[Envelope], band: str, values: Sequence[ByRange], digits: str) -> list[list[str]]:
    """A row for each network, and one for their difference where they are two."""
    rows = [_gap_row(each.name, band, by_range, digits) for each, by_range in zip(envelopes, values, strict=True)]
    if len(envelopes) == 2:
        rows.append(_gap_row("difference, paired by seed", band, difference(*values), f"+{digits}"))
    return rows


def _gap_row(name: str, band: str, gaps: Sequence[Mapping[int, float]], digits: str) -> list[str]:
    texts = [mean_text(list(by_seed.values()), digits) for by_seed in gaps]
    return [name, band, str(len(gaps[0])), *texts]


@dataclass(frozen=True)
class EnvelopeComparison:
    """The envelopes of networks that were trained alike: one, or a network without and with batch norm."""

    slug: str
    """For file names."""
    setting: str
    """The data, the epochs and the precision."""
    envelopes: tuple[Envelope, ...]
    tables: tuple[ResolvedTable, ...]
    """Their tables, in the same order."""

    @property
    def error(self) -> str:
        """The held-out error of their trainings, in words."""
        return HELD_OUT[self.tables[0].rows[0].config.held_out]

    @property
    def pair(self) -> tuple[Envelope, Envelope] | None:
        """Without and with batch norm; None where one of the two is not recorded."""
        return (self.envelopes[0], self.envelopes[1]) if len(self.envelopes) == 2 else None


def compare_envelopes(
    source: Source, tables: Sequence[ResolvedTable], trainings: Mapping[str, Replicates]
) -> list[EnvelopeComparison]:
    """The recorded envelopes. Two networks stand together where their trainings differ in batch norm alone and are on
    the same data, the one without it first."""
    groups: list[tuple[frozenset[tuple[Config, str]], dict[bool, tuple[Envelope, ResolvedTable]]]] = []
    for table in (table for table in tables if table.measure == LOSSES):
        if band := table_envelope(source, table, trainings):
            without = frozenset(
                (row.config.model_copy(update={"batch_norm": False}), trainings[row.key].fingerprint)
                for row in table.rows
            )
            has = table.rows[0].config.batch_norm
            pair = next((by_norm for configs, by_norm in groups if configs == without and has not in by_norm), None)
            if pair is None:
                pair = {}
                groups.append((without, pair))
            pair[has] = band, table
    comparisons = []
    for _, by_norm in groups:
        bands, compared = zip(*(by_norm[has] for has in sorted(by_norm)), strict=True)
        comparisons.append(EnvelopeComparison(compared[0].slug, compared[0].rows[0].config.setting, bands, compared))
    return comparisons


def varies_the_rate(table: ResolvedTable) -> bool:
    """Whether the rows of a table differ in the learning rate alone, so that their losses make an envelope."""
    return len({row.config.model_copy(update={"lr": 0.0}) for row in table.rows}) == 1


def table_envelope(source: Source, table: ResolvedTable, trainings: Mapping[str, Replicates]) -> Envelope | None:
    """The envelope of a table whose rows are learning rates; None where its trainings are not all recorded, and where
    its rows differ in more than that."""
    if not varies_the_rate(table):
        return None
    losses = {row.name: traced(source, trainings.get(row.key), STEP_LOSSES) for row in table.rows}
    steps = max((len(values) for each in losses.values() for values in each.values()), default=0)
    return envelope(network_name(table), losses, steps // table.rows[0].config.epochs)
