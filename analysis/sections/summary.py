"""The report's first section: a short paragraph on each result, with a link to its details."""

from collections.abc import Sequence
from dataclasses import astuple
from statistics import fmean

import numpy as np

from analysis.envelope import EnvelopeComparison, difference, range_text, ranges
from analysis.learning_rates import best_rates_text, errors_by_rate
from analysis.networks import BATCH_NORM
from analysis.report_data import ReportData
from analysis.sections import (
    effects_of_changes,
    gradient_smoothness,
    hyperparameter_search,
    loss_envelope,
    reproduced_tables,
)
from analysis.sections import proof as proof_section
from analysis.smoothness import ProbedNetwork, medians
from analysis.statistics.agreement import agreement_of_changes, agreements
from analysis.statistics.effects import ALPHA, Verdict
from analysis.statistics.intervals import from_to, half_width, mean_text, seed_count
from analysis.tables import BASELINE, HELD_OUT
from analysis.writing.page import Section, Text
from analysis.writing.search_text import proof_text, search_text
from trainable.search_definition import proof_name

TITLE = "In short"
NOTHING = "The record holds too little yet for a summary: each section below says what is missing."
SMOOTHER = 0.9
"""The share of the other network's variation below which a network is called smoother."""
MEASURES = (
    "the range of the loss", "the range of the gradient's change", "the largest beta-smoothness",
    "that of the longest step",
)  # fmt: skip
"""The fields of `ProbeMedians` in words."""
NAMED = 4
"""Changes are listed by name where there are no more than so many."""


def section(data: ReportData) -> Section:
    """A short paragraph on each subject, with a link to its section. What the record lacks is left out."""
    subjects = (_reproduction, _changes, _batch_norm, _learning_rate, _smoothness, _searches)
    paragraphs = [paragraph for say in subjects for paragraph in say(data)]
    return Section(TITLE, [*paragraphs] or [Text(NOTHING)])


def _reproduction(data: ReportData) -> list[Text]:
    compared = agreements(data.reproduced)
    if not compared:
        return []
    test, _ = compared
    if test.unjudged == test.printed:
        text = (
            f"None of the {test.printed} printed test errors with ours beside them can be judged: that takes two seeds "
            "that learn."
        )
    else:
        changes = agreement_of_changes(data.reproduced)
        text = (
            (f"{changes.as_text} " if changes else "")
            + f"Of {test.printed} printed test errors with ours beside them, {test.reproduced} are reproduced: they "
            f"lie where one more run of ours would fall with a probability of 95%. {test.not_reproduced} are not"
            + (f", and {test.unjudged} cannot be judged" if test.unjudged else "")
            + f". {test.shift_text}"
            + (f" {data.about_lossy}" if data.about_lossy else "")
        )
    return [Text(text, reproduced_tables.TITLE, lead="Reproduction")]


def _changes(data: ReportData) -> list[Text]:
    tested = [effect for effect in data.effects if effect.t_holm is not None]
    if not tested:
        return []
    raised, lowered, without, undecided = (
        [effect.name for effect in tested if effect.verdict is verdict]
        for verdict in (Verdict.HIGHER, Verdict.LOWER, Verdict.NO_EFFECT, Verdict.UNDECIDED)
    )
    at_chance = [effect.name for effect in data.effects if effect.at_chance]
    seeds = from_to([len(effect.differences) for effect in tested if effect.verdict is Verdict.UNDECIDED])
    text = (
        f"Of {len(tested)} tested changes to the network or its training, {_counted(raised)} raise{_s(raised)} the "
        f"error after the last epoch and {_counted(lowered)} lower{_s(lowered)} it, with p below {ALPHA} after "
        "correction within each study"
        + (f"; {_counted(without)} change{_s(without)} it by less than {data.margin:g}" if without else "")
        + (f"; undecided with {seeds} seeds: {len(undecided)}." if undecided else ".")
        + (f" Not tested, because a training stayed at chance: {', '.join(at_chance)}." if at_chance else "")
    )
    return [Text(text, effects_of_changes.TITLE, lead="Changes")]


def _counted(names: list[str]) -> str:
    return (str(len(names)) if names else "none") + (f" ({', '.join(names)})" if 0 < len(names) <= NAMED else "")


def _s(names: list[str]) -> str:
    return "s" if len(names) == 1 else ""


def _batch_norm(data: ReportData) -> list[Text]:
    """At the learning rate of the tables, and at the best of each network."""
    text, details = [], ""
    effects = [effect for effect in data.effects if effect.config.ablation == BATCH_NORM]
    if effects:
        effect = min(effects, key=lambda each: each.config.precision != BASELINE.precision)
        verb = "lowers" if effect.mean < 0 else "raises"
        certainty = "more than chance explains" if effect.established else "too little to exclude chance"
        if effect.verdict is Verdict.NO_EFFECT:
            certainty = f"less than the margin of {data.margin:g}"
        details = effects_of_changes.TITLE
        text.append(
            f"At a learning rate of {effect.config.lr:g}, batch norm {verb} the {HELD_OUT[effect.config.held_out]} "
            f"after the last epoch by {abs(effect.mean):.4f} in the mean over {seed_count(len(effect.differences))}, "
            f"which is {certainty}."
        )
        if effect.new_images_interval:
            low, high = effect.new_images_interval
            text.append(f"Over new seeds and new images, its 95% interval is {low:+.4f} to {high:+.4f}.")
    comparison = _envelope(data)
    if comparison and (errors := errors_by_rate(comparison.tables, data.tables, data.trainings)):
        details = loss_envelope.TITLE
        text.append(best_rates_text(errors, comparison.error, data.margin))
    return [Text(" ".join(text), details, lead="Batch norm")] if text else []


def _envelope(data: ReportData) -> EnvelopeComparison | None:
    """The first envelope that compares a network without and with batch norm."""
    return next((each for each in data.envelopes if each.pair), None)


def _learning_rate(data: ReportData) -> list[Text]:
    comparison = _envelope(data)
    if comparison is None or comparison.pair is None:
        return []
    pair = comparison.pair
    by_network = [each.gaps() for each in pair], [each.ratios() for each in pair]
    (plain, norm), times = ([fmean(values[-1].values()) for values in each] for each in by_network)
    heights, ratios = (list(difference(*each)[-1].values()) for each in by_network)
    if not heights or not np.isfinite([plain, norm]).all():  # a training diverged
        return []
    signs = {_sign(heights), _sign(ratios)}
    found = "may or may not depend less"
    if len(signs) == 1 and 0 not in signs:
        found = "depends less" if -1 in signs else "depends more"
    text = (
        f"With batch norm, the training loss {found} on the learning rate ({comparison.setting}). Over "
        f"{range_text(*ranges(pair[0].epochs)[-1])}, the mini-batch losses at {len(pair[0].rates)} rates lie "
        f"{plain:.2f} apart without it and {norm:.2f} with it ({mean_text(heights, '+.2f')}; "
        f"{seed_count(len(heights))}). The largest is {times[0]:.2f} and {times[1]:.2f} times the smallest "
        f"({mean_text(ratios, '+.2f')})."
    )
    return [Text(text, loss_envelope.TITLE, lead="Learning rate")]


def _sign(differences: Sequence[float]) -> int:
    """The sign of the mean; 0 where its 95% interval includes 0."""
    mean, half = float(np.mean(differences)), half_width(differences)
    return int(np.sign(mean)) if half is not None and abs(mean) > half else 0


def _smoothness(data: ReportData) -> list[Text]:
    compared = []
    for arm in data.smoothness:
        plain, norm = (
            [network for network in arm.networks if network.config.batch_norm == has and not network.at_chance]
            for has in (False, True)
        )
        if arm.table == data.smoothness[0].table and len(plain) == len(norm) == 1:
            compared += _smoother(arm.optimizer, plain[0], norm[0])
    if not compared:
        return []
    text = (
        "We measured how much the loss and its gradient vary along the gradient, as Santurkar et al. 2018 do. Less is "
        "smoother. A network counts as smoother by a measure, and the other one as rougher, where its value is below "
        f"{SMOOTHER:g} of the other's with every seed. {' '.join(compared)}"
        + ("" if all(arm.by_sgd for arm in data.smoothness) else f" {gradient_smoothness.NOT_THE_STEP}")
    )  # fmt: skip
    return [Text(text, gradient_smoothness.TITLE, lead="Smoothness")]


def _smoother(optimizer: str, plain: ProbedNetwork, norm: ProbedNetwork) -> list[str]:
    """By how many measures batch norm makes the loss smoother and by how many rougher, in a sentence. Empty where the
    two differ in more than batch norm, or share no seed."""
    seeds = plain.probes.keys() & norm.probes.keys()
    if not seeds or norm.config != plain.config.change(batch_norm=True):
        return []
    without, with_norm = (
        np.array([astuple(medians(network.probes[seed])) for seed in seeds]) for network in (plain, norm)
    )
    smoother, rougher = (
        int((these < SMOOTHER * those).all(0).sum()) for these, those in ((with_norm, without), (without, with_norm))
    )
    means = zip(MEASURES, without.mean(0), with_norm.mean(0), strict=True)
    figures = "; ".join(f"{name} {a:.3g} without it and {b:.3g} with it" for name, a, b in means)
    return [
        f"With {optimizer}, batch norm makes the loss smoother by {smoother} of {len(MEASURES)} measures, rougher by "
        f"{rougher} and neither by {len(MEASURES) - smoother - rougher} ({seed_count(len(seeds))}): {figures}."
    ]


def _searches(data: ReportData) -> list[Text]:
    """A paragraph on each search, and on each proof whose search is not recorded."""
    paragraphs = []
    for recorded in data.searches:
        proof = data.proof_of(recorded)
        said = search_text(recorded, proof, data.earlier_proof_of(recorded))
        details = proof_section.TITLE if proof else hyperparameter_search.TITLE
        paragraphs += [Text(said, details, lead=recorded.search.title)] if said else []
    studies = {proof_name(recorded.search.study) for recorded in data.searches}
    alone = [
        Text(proof_text(proof), proof_section.TITLE, lead=proof.table.title)
        for proof in data.proofs
        if proof.table.study not in studies
    ]
    return paragraphs + alone
