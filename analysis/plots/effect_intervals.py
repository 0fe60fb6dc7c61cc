"""The picture of the effects: each ablation's difference from its reference, with its interval."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from matplotlib import pyplot
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.plots.style import COLORS, save
from analysis.statistics.effects import ALPHA, Effect, Verdict
from analysis.writing.effect_rows import COLUMNS, effect_numbers

FACES = {Verdict.NO_EFFECT: COLORS[6], Verdict.UNDECIDED: "white", Verdict.AT_CHANCE: "white"}
"""The colours that fill the dots of these verdicts; black fills the others."""
WRAP = 54
"""Characters in a line of a row's label, of which it may have two."""
LINEAR_TO = 0.05
"""Where a difference is larger, the scale is linear up to here and logarithmic beyond. Else all of it is linear."""


def draw_effects(effects: Sequence[Effect], error: str, file: Path) -> Path:
    """The mean differences with their 95% intervals, in the given order from top to bottom, and the difference of each
    seed as a small cross. A thin line is the interval over new images, too, where it is known. A dot's filling says the
    verdict; the margin of the equivalence test is shaded. `error` names the error and its data, for the axis."""
    margin = effects[0].margin
    usual = Counter(effect.against for effect in effects).most_common(1)[0][0]
    labels = [fill(_label(each, usual), WRAP) for each in effects]
    row_height = 0.34 if any("\n" in label for label in labels) else 0.28
    figure, axis = pyplot.subplots(figsize=(8, max(2.5, 1.2 + row_height * len(effects))), layout="constrained")
    for index, effect in enumerate(effects):
        reach = None if effect.interval is None else effect.interval.half_width
        axis.errorbar(
            effect.mean, index, xerr=reach, fmt="o", color=COLORS[0], capsize=3, markersize=5,
            markerfacecolor=FACES.get(effect.verdict, COLORS[0]),
        )  # fmt: skip
        if effect.new_images_interval:
            axis.plot(effect.new_images_interval, [index] * 2, color=COLORS[0], linewidth=0.7)
        axis.plot(effect.differences, [index + 0.25] * len(effect.differences), "x", color=COLORS[2], markersize=4)
    for mark, face, label in (
        ("o", COLORS[0], f"an effect: p < {ALPHA} after Holm's correction"),
        ("o", FACES[Verdict.UNDECIDED], "undecided; without an interval: not tested"),
        ("o", FACES[Verdict.NO_EFFECT], f"no effect beyond ±{margin:g} (shaded)"),
        ("x", None, "one seed"),
    ):
        axis.plot([], [], mark, color=COLORS[0] if face else COLORS[2], markerfacecolor=face, markersize=5, label=label)
    if any(effect.new_images_interval for effect in effects):
        axis.plot([], [], color=COLORS[0], linewidth=0.7, label="95% interval over new seeds and new images")
    axis.errorbar([], [], xerr=[], color=COLORS[0], capsize=3, label="95% interval over new seeds, not corrected")
    figure.legend(fontsize=8, loc="outside upper center", ncols=2)
    axis.axvspan(-margin, margin, color="0.9", zorder=0)
    axis.axvline(0, color="grey", linewidth=1)
    other = any(effect.against != usual for effect in effects)
    axis.set_yticks(range(len(effects)), labels, fontsize=8)
    axis.set_ylim(len(effects) - 0.4, -0.6)  # from top to bottom
    wide = max(abs(end) for each in effects for end in (*each.differences, *(each.interval or ()))) > LINEAR_TO
    if wide:
        axis.set_xscale("symlog", linthresh=LINEAR_TO)
        axis.xaxis.set_major_locator(FixedLocator([-0.1, -0.04, -0.02, 0, 0.02, 0.05, 0.1, 0.2, 0.5]))
        axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel(
        f"{error} after the last epoch,\nminus the {usual}'s{' (or of what is named)' * other},\n"
        "paired by n seeds" + f",\nlogarithmic beyond ±{LINEAR_TO}" * wide
    )
    axis.grid(axis="x", alpha=0.3)
    return save(figure, file, tuple(COLUMNS), effect_numbers(effects))


def _label(effect: Effect, usual: str) -> str:
    against = "" if effect.against == usual else f", against {effect.against}"
    return f"{effect.name}{against}, " + f"n = {len(effect.seeds)}".replace(" ", "\N{NO-BREAK SPACE}")
