"""Each ablation against what its table compares it with, paired by seed, with intervals and corrected tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import FixedLocator, NullLocator
from scipy import stats

from analysis.intervals import CONFIDENCE
from analysis.replicates import Replicates
from analysis.style import COLORS, save
from trainable.study import ResolvedRow, ResolvedTable

BASELINE = "baseline"
ALPHA = 0.05
"""An effect is established where p is below this after Holm's correction."""
EQUAL = 1e-9
"""Differences this close are equal: a split has far fewer images."""
LINEAR_TO = 0.05
"""Differences up to here are drawn on a linear scale, those beyond on a logarithmic one."""
HEADER = (
    "study", "row", "against", "seeds", "difference", "low", "high", "t-test p", "t-test p, Holm",
    "Wilcoxon p", "Wilcoxon p, Holm",
)  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """A config's error minus its reference's, over the seeds that both have. The interval and the tests are None for
    fewer than two seeds, and where all seeds differ by the same."""

    study: str
    """The first study that the config is a row of."""
    name: str
    against: str
    """What it is compared with: the baseline, or another row by its name."""
    key: str
    differences: tuple[float, ...]
    interval: tuple[float, float] | None
    t_p: float | None
    wilcoxon_p: float | None
    t_holm: float | None = None
    wilcoxon_holm: float | None = None

    @property
    def mean(self) -> float:
        """The mean difference; above 0 the config errs more than its reference."""
        return float(np.mean(self.differences))

    @property
    def established(self) -> bool:
        """Whether it is sure after the correction for all that was tested beside it."""
        return self.t_holm is not None and self.t_holm < ALPHA


def effects(tables: Sequence[ResolvedTable], found: Mapping[str, Replicates]) -> list[Effect]:
    """Effects of every distinct config on the last epoch's error on what the training does not see, the largest gain
    first. The last epoch's, because a minimum over the epochs on the test split is optimistic.

    A config's reference is that of the first table that has it; there is no effect where the record lacks either. p
    values are Holm's (1979) over the configs of a study that have one, for the paired t-test and for Wilcoxon's
    signed-rank test apart.
    """
    rows: dict[str, tuple[ResolvedTable, ResolvedRow]] = {}
    for table in tables:
        for row in table.rows:
            rows.setdefault(row.key, (table, row))
    names = {key: BASELINE if row.config.is_baseline else _name(table, row) for key, (table, row) in rows.items()}
    measured: dict[str, list[Effect]] = {}
    for key, (table, row) in rows.items():
        if row.config.is_baseline or key == table.reference or not {key, table.reference} <= found.keys():
            continue
        own, base = (_finals(found[each]) for each in (key, table.reference))
        if shared := sorted(base.keys() & own.keys()):
            differences = np.array([own[seed] - base[seed] for seed in shared])
            effect = _effect(table.study, names[key], names.get(table.reference, table.reference), key, differences)
            measured.setdefault(table.study, []).append(effect)
    corrected = [effect for family in measured.values() for effect in _corrected(family)]
    return sorted(corrected, key=lambda effect: effect.mean)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (Holm 1979, Scand. J. Statist. 6:65-70); None stays None and is not counted."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted


def as_rows(found: Sequence[Effect]) -> list[list[str]]:
    """Under `HEADER`; what too few seeds cannot say is `-`."""
    return [
        [
            effect.study,
            effect.name,
            effect.against,
            str(len(effect.differences)),
            f"{effect.mean:+.4f}",
            *(["-", "-"] if effect.interval is None else [f"{bound:+.4f}" for bound in effect.interval]),
            *(p_text(p) for p in (effect.t_p, effect.t_holm, effect.wilcoxon_p, effect.wilcoxon_holm)),
        ]
        for effect in found
    ]


def p_text(p: float | None) -> str:
    """A p value to three decimals; none is zero."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def draw_effects(found: Sequence[Effect], error: str, file: Path) -> Path:
    """Of an error (its name and data), the differences with their intervals, the largest gain on top; each seed's as a
    small cross."""
    figure, axis = pyplot.subplots(figsize=(8, 1.2 + 0.28 * len(found)), layout="constrained")
    for place, effect in enumerate(found):
        reach = None if effect.interval is None else effect.interval[1] - effect.mean
        axis.errorbar(
            effect.mean, place, xerr=reach, fmt="o", color=COLORS[0], capsize=3, markersize=5,
            markerfacecolor=COLORS[0] if effect.established else "white",
        )  # fmt: skip
        axis.plot(effect.differences, [place + 0.25] * len(effect.differences), "x", color=COLORS[2], markersize=4)
    for mark, face, label in (
        ("o", "white", "mean and its own 95% interval: undecided"),
        ("o", COLORS[0], f"p < {ALPHA} after Holm's correction"),
        ("x", None, "one seed"),
    ):
        axis.plot([], [], mark, color=COLORS[0] if face else COLORS[2], markerfacecolor=face, markersize=5, label=label)
    axis.legend(fontsize=8, loc="upper right")
    axis.axvline(0, color="grey", linewidth=1)
    labels = [each.name if each.against == BASELINE else f"{each.name}, against {each.against}" for each in found]
    axis.set_yticks(range(len(found)), labels, fontsize=8)
    axis.invert_yaxis()
    axis.set_xscale("symlog", linthresh=LINEAR_TO)
    axis.xaxis.set_major_locator(FixedLocator([-0.1, -0.04, -0.02, 0, 0.02, 0.05, 0.1, 0.2, 0.5]))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    seeds = max((len(effect.differences) for effect in found), default=0)
    axis.set_xlabel(
        f"{error} after the last epoch,\nminus the baseline's (or of what is named),\n"
        f"paired by seed, up to {seeds} seed(s), logarithmic beyond ±{LINEAR_TO}"
    )
    axis.grid(axis="x", alpha=0.3)
    rows = [
        (each.study, each.name, each.against, len(each.differences), each.mean, *(each.interval or (None, None)),
         each.t_p, each.t_holm, each.wilcoxon_p, each.wilcoxon_holm)
        for each in found
    ]  # fmt: skip
    return save(figure, file, HEADER, rows)


def _finals(trained: Replicates) -> dict[int, float]:
    return {seed: series[-1][1] for seed, series in trained.by_seed(trained.config.held_out).items()}


def _corrected(family: Sequence[Effect]) -> list[Effect]:
    t_holm = holm([effect.t_p for effect in family])
    wilcoxon_holm = holm([effect.wilcoxon_p for effect in family])
    return [
        replace(effect, t_holm=t, wilcoxon_holm=w) for effect, t, w in zip(family, t_holm, wilcoxon_holm, strict=True)
    ]


def _name(table: ResolvedTable, row: ResolvedRow) -> str:
    return f"{table.slug}: {row.name}"


def _effect(study: str, name: str, against: str, key: str, differences: np.ndarray) -> Effect:
    values = tuple(differences.tolist())
    if len(values) < 2 or np.ptp(differences) < EQUAL:
        return Effect(study, name, against, key, values, None, None, None)
    t_test = stats.ttest_1samp(differences, 0.0)
    low, high = t_test.confidence_interval(CONFIDENCE)
    return Effect(study, name, against, key, values, (float(low), float(high)), float(t_test.pvalue),
                  float(stats.wilcoxon(differences).pvalue))  # fmt: skip
