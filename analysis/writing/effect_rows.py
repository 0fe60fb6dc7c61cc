"""Effects as the rows of the report's tables and of its CSV files."""

from collections.abc import Sequence

from analysis.statistics.effects import Effect
from analysis.statistics.t_tests import p_text

HEADER = ("change", "effect", "verdict", "p, t-test", "p, equivalence", "seeds", "against")
NUMBERS = (
    "study", "row", "against", "seeds", "difference", "low", "high", "low, new images", "high, new images",
    "seeds of the images", "verdict", "rows pooled", "degrees of freedom", "t-test p", "t-test p, Holm",
    "equivalence p", "equivalence p, Holm", "Wilcoxon p", "Wilcoxon p, Holm", "seeds lower", "seeds that differ",
    "chance, low", "chance, high",
)  # fmt: skip


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


def effect_numbers(effects: Sequence[Effect]) -> list[tuple]:
    """The rows of a CSV file whose header is `NUMBERS`; None where there are too few seeds."""
    return [
        (each.study, each.name, each.against, len(each.differences), each.mean, *(each.interval or (None, None)),
         *(each.new_images_interval or (None, None)), each.image_seeds, each.verdict.value,
         each.pool.rows if each.pool and each.pooled else None, each.tests.dof if each.tests else None,
         each.t_p, each.t_holm, each.equivalence_p, each.equivalence_holm, each.wilcoxon_p, each.wilcoxon_holm,
         *((each.chance.lower, each.chance.seeds, *each.chance.interval) if each.chance else (None,) * 4))
        for each in effects
    ]  # fmt: skip
