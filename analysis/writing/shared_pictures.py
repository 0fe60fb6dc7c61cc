"""The pictures that a report and the live page show, with their captions."""

from collections.abc import Sequence
from pathlib import Path

from analysis.plots.effect_intervals import draw_effects
from analysis.plots.search_progress import draw_best_so_far, draw_learning_curves
from analysis.searches import RecordedSearch
from analysis.statistics.effects import Effect
from analysis.tables import held_out_name
from analysis.writing.page import Picture

EFFECTS = "effects"
"""The name of the picture of effects and of its CSV file."""


def effects_picture(effects: Sequence[Effect], data_set: str, folder: Path) -> Picture:
    """The effect of each change on the held-out error, with its intervals."""
    error = held_out_name(effect.config for effect in effects)
    return Picture(
        draw_effects(effects, f"{error} on {data_set}", folder / f"{EFFECTS}.png"), "The effect of each change."
    )


def learning_curves(recorded: RecordedSearch, folder: Path) -> Picture:
    """The curves of a search's trials."""
    file = draw_learning_curves(recorded, folder / f"{recorded.search.study}-curves.png")
    return Picture(file, "The validation error of each trial by epoch.")


def best_so_far(recorded: RecordedSearch, folder: Path) -> Picture:
    """How a search's best error fell."""
    file = draw_best_so_far(recorded, folder / f"{recorded.search.study}-best.png")
    return Picture(file, "The best validation error so far by the training time spent.")
