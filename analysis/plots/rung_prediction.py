"""The picture of a calibration: how well each signal foretells the end, by the epochs that it takes."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from analysis.plots.style import line_style, save
from analysis.statistics.rank_agreement import SHORTER_TRAINING, RankAgreement

HEADER = ("signal", "epochs", "tau", "low", "high", "configs")


def draw_rank_agreements(agreements: Sequence[RankAgreement], rungs: Sequence[int], title: str, file: Path) -> Path:
    """Kendall's tau by epoch with its 95% interval, a line for each signal, marks for shorter trainings. Dotted lines
    are the search's rungs."""
    figure, axis = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for index, signal in enumerate(dict.fromkeys(each.signal for each in agreements)):
        own = [each for each in agreements if each.signal == signal]
        epochs, taus = [each.epochs for each in own], [each.tau for each in own]
        style = line_style(index)
        if signal == SHORTER_TRAINING:
            reach = [[each.tau - each.low for each in own], [each.high - each.tau for each in own]]
            axis.errorbar(epochs, taus, yerr=reach, fmt="D", color=style["color"], capsize=3, label=signal)
            continue
        axis.plot(epochs, taus, marker="o", markersize=3, label=signal, **style)
        axis.fill_between(epochs, [e.low for e in own], [e.high for e in own], color=style["color"], alpha=0.15,
                          linewidth=0)  # fmt: skip
    for rung in rungs:
        axis.axvline(rung, color="grey", linestyle=":", linewidth=1)
    axis.axhline(0, color="grey", linewidth=1)
    axis.set(xlabel="epochs of training", ylabel="Kendall's tau with the last error", ylim=(-1, 1.05))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")
    axis.set_title(title, fontsize=10)
    rows = [(each.signal, each.epochs, each.tau, each.low, each.high, each.configs) for each in agreements]
    return save(figure, file, HEADER, rows)
