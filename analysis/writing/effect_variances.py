"""Where the t-tests of effects have their variance from, in sentences."""

from collections.abc import Sequence

from analysis.statistics.effects import Effect
from analysis.statistics.pooling import EQUAL_VARIANCES_ALPHA, Pooled
from analysis.statistics.t_tests import p_text


def variances(family: Sequence[Effect]) -> str:
    """Where the t-tests of a study's effects have their variance from."""
    tested = [effect for effect in family if effect.tests]
    mixed = [effect.name for effect in family if effect.ended_at_chance]
    near_copies = [effect.name for effect in tested if effect.near_copy]
    alone = [effect.name for effect in tested if effect.pool is None and not effect.near_copy]
    pools = {(effect.against, effect.pool) for effect in tested if effect.pool}
    sentences = [_pool(against, pool) for against, pool in sorted(pools, key=lambda each: each[0])]
    if alone:
        sentences.append(
            f"{_with_own_variance(alone)}: no other change of this study that learned has the same reference."
        )
    if near_copies:
        sentences.append(
            f"{_with_own_variance(near_copies)}: the change acts on next to nothing, so that each training is nearly "
            "that of the reference with the same seed."
        )
    if mixed:
        sentences.append(
            f"{', '.join(mixed)}: not tested, because a training ended at chance. A mean over trainings that learn "
            "and trainings that do not is no effect."
        )
    return " ".join(sentences)


def _with_own_variance(names: Sequence[str]) -> str:
    verb, whose = ("is", "its") if len(names) == 1 else ("are", "their")
    return f"{', '.join(names)} {verb} tested with a variance of {whose} own"


def _pool(against: str, pool: Pooled) -> str:
    compared = f"{pool.rows - 1} changes are compared with {against}"
    if pool.equal_variances:
        return (
            f"{compared}, and share one variance with {pool.dof} degrees of freedom: Cochran's test does not object to "
            f"it (p {p_text(pool.equal_p)})."
        )
    return (
        f"{compared}, each with a variance of its own: by Cochran's test one of them may vary more than the others "
        f"(p {p_text(pool.equal_p)}). They share one only where p is {EQUAL_VARIANCES_ALPHA:g} or more, a limit that "
        "is high on purpose."
    )
