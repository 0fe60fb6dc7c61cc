"""The picture of the effects: each ablation's difference from its reference, with its interval."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.effects import ALPHA, HEADER, Effect
from analysis.plots.style import COLORS, save

LINEAR_TO = 0.05
"""Differences up to here are drawn on a linear scale, those beyond on a logarithmic one."""


def draw_effects(effects: Sequence[Effect], error: str, file: Path) -> Path:
    """The mean differences with their 95% intervals, in the given order from top to bottom, and the difference of each
    seed as a small cross. `error` names the error and its data, for the axis."""
    figure, axis = pyplot.subplots(figsize=(8, 1.2 + 0.28 * len(effects)), layout="constrained")
    for index, effect in enumerate(effects):
        reach = None if effect.interval is None else effect.interval[1] - effect.mean
        axis.errorbar(
            effect.mean, index, xerr=reach, fmt="o", color=COLORS[0], capsize=3, markersize=5,
            markerfacecolor=COLORS[0] if effect.established else "white",
        )  # fmt: skip
        axis.plot(effect.differences, [index + 0.25] * len(effect.differences), "x", color=COLORS[2], markersize=4)
    for mark, face, label in (
        ("o", "white", "mean and its own 95% interval: undecided"),
        ("o", COLORS[0], f"p < {ALPHA} after Holm's correction"),
        ("x", None, "one seed"),
    ):
        axis.plot([], [], mark, color=COLORS[0] if face else COLORS[2], markerfacecolor=face, markersize=5, label=label)
    figure.legend(fontsize=8, loc="outside upper center", ncols=3)
    axis.axvline(0, color="grey", linewidth=1)
    usual = Counter(effect.against for effect in effects).most_common(1)[0][0]
    labels = [each.name if each.against == usual else f"{each.name}, against {each.against}" for each in effects]
    axis.set_yticks(range(len(effects)), labels, fontsize=8)
    axis.invert_yaxis()
    axis.set_xscale("symlog", linthresh=LINEAR_TO)
    axis.xaxis.set_major_locator(FixedLocator([-0.1, -0.04, -0.02, 0, 0.02, 0.05, 0.1, 0.2, 0.5]))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    seeds = max((len(effect.differences) for effect in effects), default=0)
    axis.set_xlabel(
        f"{error} after the last epoch,\nminus the {usual}'s (or of what is named),\n"
        f"paired by seed, up to {seeds} seed(s), logarithmic beyond ±{LINEAR_TO}"
    )
    axis.grid(axis="x", alpha=0.3)
    rows = [
        (each.study, each.name, each.against, len(each.differences), each.mean, *(each.interval or (None, None)),
         each.t_p, each.t_holm, each.wilcoxon_p, each.wilcoxon_holm)
        for each in effects
    ]  # fmt: skip
    return save(figure, file, HEADER, rows)
