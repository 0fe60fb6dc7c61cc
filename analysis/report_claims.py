"""The sentences of the course report that its own tables or ours contradict, each with a ruling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from analysis.networks import BATCH_NORM, BIGGER, SMALLER
from analysis.record.replicates import Replicates
from analysis.statistics.effects import Effect, Verdict
from analysis.statistics.intervals import mean_text
from analysis.statistics.t_tests import p_text, paired_difference
from trainable.study import ResolvedTable

HINGE = {"loss": "hinge"}
MISSING = "missing: not recorded"
OVER_FITTED = 0.1
"""Over-fitting is called serious where the test error is so far above the train error for every seed."""
PENALTY = 0.01
"""The row of table 4 that shows best how much the loss matters to the effect of a penalty."""


class Ruling(StrEnum):
    """The verdict on a claim. An effect or a figure of ours decides, but for a claim that is confounded or misprinted:
    there the course report's own records do."""

    ESTABLISHED = "established"
    LIKELY = "likely"
    """The interval excludes 0, but the test does not decide after the correction."""
    NOT_ESTABLISHED = "not established"
    NO_EFFECT = Verdict.NO_EFFECT.value
    UNLIKELY = "unlikely"
    """The opposite is likely."""
    CONTRADICTED = "contradicted"
    CONFOUNDED = "confounded"
    MISPRINTED = "misprinted"


@dataclass(frozen=True)
class Claim:
    """A sentence of the course report."""

    sentence: str
    ruling: Ruling
    figure: str
    """The number that decides; a difference is that of the last epoch's test error. Empty where none does."""
    evidence: str
    """What else there is to say."""
    scope: str = ""
    """Where the ruling holds; empty where that goes without saying."""


def judge_claims(
    tables: Sequence[ResolvedTable], trainings: Mapping[str, Replicates], effects: Sequence[Effect], other_rates: str
) -> list[Claim]:
    """The claims, judged by the tables that are comparable with the course report's. There are none where these tables
    have no baseline. `other_rates` says what batch norm does at other learning rates; empty where that is not
    recorded."""
    keys = {row.config: row.key for table in tables for row in table.rows}
    base = next((config for config in keys if config.is_baseline), None)
    if base is None:
        return []
    compared = {(effect.config, effect.reference): effect for effect in effects}
    hinge, penalty = base.change(**HINGE), {"weight_decay": PENALTY}
    bigger, smaller, norm, with_cross_entropy = (
        compared.get((base.change(**change), base)) for change in (BIGGER, SMALLER, BATCH_NORM, penalty)
    )
    with_hinge = compared.get((hinge.change(**penalty), hinge))
    return [
        Claim(
            "Errors rise with the network's size",
            _ruling(bigger, rises=True),
            f"bigger: {_difference(bigger)}; smaller: {_difference(smaller)}",
            "In the course report's own table 2 they fall.",
        ),
        Claim("There is no serious over-fitting", *_over_fitting(trainings.get(keys[base]))),
        Claim(
            "Batch norm lowers the test error (by .0092, one run)",
            _ruling(norm, rises=False),
            _difference(norm),
            other_rates + _of_minima(trainings.get(keys[base]), trainings.get(keys.get(base.change(**BATCH_NORM), ""))),
            f"at a learning rate of {base.lr:g}",
        ),
        Claim(
            "Table 4 shows the effect of the penalty against a zero row",
            Ruling.CONFOUNDED,
            f"penalty {PENALTY:g}: {_difference(with_hinge)} with hinge, {_difference(with_cross_entropy)} with "
            "cross-entropy",
            "Its rows were trained with the hinge loss and its zero row with cross-entropy. The effects of the changes "
            "compare its rows with hinge; table 4b is the ablation that the course report states.",
        ),
        Claim(
            "Table 4's row 0.01: train error .45312 at epoch 16",
            Ruling.MISPRINTED,
            ".44874 at epoch 20",
            ".44874 is the minimum in the course report's own log of that run.",
        ),
        Claim(
            "Table 6 shows which optimizer is better",
            Ruling.CONFOUNDED,
            "",
            "Each is compared at one learning rate that nobody tuned (Adagrad at 0.01, the others at 0.001): the table "
            "orders the settings, not the optimizers.",
        ),
    ]


def _ruling(effect: Effect | None, rises: bool) -> Ruling:
    """The ruling on the sentence that a change raises the error, or lowers it."""
    if effect and effect.verdict is Verdict.NO_EFFECT:
        return Ruling.NO_EFFECT
    if effect is None or effect.interval is None or effect.interval.contains(0):
        return Ruling.NOT_ESTABLISHED
    agrees = (effect.mean > 0) == rises
    if effect.established:
        return Ruling.ESTABLISHED if agrees else Ruling.CONTRADICTED
    return Ruling.LIKELY if agrees else Ruling.UNLIKELY


def _difference(effect: Effect | None) -> str:
    if effect is None:
        return MISSING
    if effect.interval is None:
        why = "one seed" if len(effect.differences) == 1 else "all seeds equal"
        if effect.ended_at_chance:
            why = "a training ended at chance"
        return f"{effect.mean:+.4f} ({why}: nothing is established)"
    return f"{effect.as_text} ({len(effect.differences)} seeds, p {p_text(effect.t_holm)})"


def _of_minima(plain: Replicates | None, norm: Replicates | None) -> str:
    """The difference between minima over the epochs, which are what the course report compares; empty where it is not
    recorded on the same data."""
    if plain is None or norm is None or plain.fingerprint != norm.fingerprint:
        return ""
    before, after = (
        {seed: min(error for _, error in series) for seed, series in each.by_seed("test_error").items()}
        for each in (plain, norm)
    )
    difference = paired_difference(after, before).text
    if not difference:
        return ""
    return f" Between the minima over the epochs, which the course report compares, it is {difference}."


def _over_fitting(baseline: Replicates | None) -> tuple[Ruling, str, str]:
    """The ruling, the figure and the evidence."""
    if baseline is None:
        return Ruling.NOT_ESTABLISHED, MISSING, ""
    train, test = (baseline.curves(metric) for metric in ("train_error", "test_error"))
    rise = test[:, -1] - test.min(1)
    over_fitted = (test[:, -1] - train[:, -1] > OVER_FITTED).all()
    return (
        Ruling.CONTRADICTED if over_fitted else Ruling.NOT_ESTABLISHED,
        f"train error {mean_text(train[:, -1].tolist())}, test error {mean_text(test[:, -1].tolist())}",
        f"We call it serious where the test error is more than {OVER_FITTED:g} above the train error, for every seed. "
        f"These are the baseline's after the last epoch; its test error is then {rise.mean():+.4f} above its minimum.",
    )
