"""Effects as the rows of the report's tables and of its CSV files."""

from collections.abc import Callable, Sequence
from typing import Any

from analysis.statistics.effects import Effect
from analysis.statistics.t_tests import p_text

HEADER = ("change", "effect", "verdict", "p, t-test", "p, equivalence", "seeds", "against")
COLUMNS: dict[str, Callable[[Effect], Any]] = {
    "study": lambda effect: effect.study,
    "row": lambda effect: effect.name,
    "against": lambda effect: effect.against,
    "seeds": lambda effect: len(effect.differences),
    "difference": lambda effect: effect.mean,
    "low": lambda effect: effect.interval and effect.interval.low,
    "high": lambda effect: effect.interval and effect.interval.high,
    "low, new images": lambda effect: effect.new_images_interval and effect.new_images_interval.low,
    "high, new images": lambda effect: effect.new_images_interval and effect.new_images_interval.high,
    "seeds of the images": lambda effect: effect.image_seeds,
    "verdict": lambda effect: effect.verdict.value,
    "rows pooled": lambda effect: effect.pool.rows if effect.pool and effect.pooled else None,
    "degrees of freedom": lambda effect: effect.tests and effect.tests.dof,
    "t-test p": lambda effect: effect.t_p,
    "t-test p, Holm": lambda effect: effect.t_holm,
    "equivalence p": lambda effect: effect.equivalence_p,
    "equivalence p, Holm": lambda effect: effect.equivalence_holm,
    "Wilcoxon p": lambda effect: effect.wilcoxon_p,
    "Wilcoxon p, Holm": lambda effect: effect.wilcoxon_holm,
    "seeds lower": lambda effect: effect.chance and effect.chance.lower,
    "seeds that differ": lambda effect: effect.chance and effect.chance.seeds,
    "chance, low": lambda effect: effect.chance and effect.chance.interval.low,
    "chance, high": lambda effect: effect.chance and effect.chance.interval.high,
}
"""The columns of a CSV file of effects: the name of each, and what stands in it. None where there are too few seeds."""


def effect_rows(effects: Sequence[Effect]) -> list[list[str]]:
    """The cells of a table whose header is `HEADER`, with p values after Holm's correction; `-` where there are too few
    seeds. Beside the seeds stands whether the variance is pooled."""
    return [
        [
            effect.name,
            effect.as_text,
            effect.verdict.value,
            p_text(effect.t_holm),
            p_text(effect.equivalence_holm),
            f"{len(effect.differences)}{', pooled' if effect.pooled else ''}",
            effect.against,
        ]
        for effect in effects
    ]


def effect_numbers(effects: Sequence[Effect]) -> list[list[Any]]:
    """The rows of a CSV file whose header is `COLUMNS`."""
    return [[read(effect) for read in COLUMNS.values()] for effect in effects]
