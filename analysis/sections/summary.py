"""The report's first section: a short paragraph on each result, with a link to its details."""

from collections.abc import Sequence
from dataclasses import astuple
from statistics import fmean

import numpy as np

from analysis.agreement import agreements, changes_text, printed_changes
from analysis.envelope import EnvelopeComparison, difference, range_text, ranges
from analysis.learning_rates import errors_by_rate
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
from analysis.smoothness import ProbedNetwork, medians, not_the_step
from analysis.statistics.effects import ALPHA, Effect, Verdict
from analysis.statistics.intervals import from_to, half_width, mean_text
from analysis.statistics.names import BASELINE_NAME
from analysis.tables import BASELINE, HELD_OUT
from analysis.writing.learning_rates_text import best_rates_text, next_best_text, same_rates_text
from analysis.writing.page import Section, Text
from analysis.writing.search_text import proof_text, search_text
from analysis.writing.words import counted, listed, verb
from trainable.search_definition import proof_name

TITLE = "In short"
NOTHING = "The record holds too little yet for a summary."
SMOOTHER = 0.9
"""The share of the other network's variation below which a network is called smoother."""
MEASURES = (
    "the range of the loss", "the range of gradient predictiveness", "the largest beta-smoothness",
    "the beta-smoothness of the longest step",
)  # fmt: skip
"""The fields of `ProbeMedians` in words."""
NAMED = 3
"""So many changes are named of those that raise the error, and of those that lower it: the largest."""


def section(data: ReportData) -> Section:
    """A short paragraph on each subject, with a link to its section. What the record lacks is left out."""
    subjects = (_reproduction, _changes, _batch_norm, _learning_rate, _smoothness, _searches)
    paragraphs = [paragraph for say in subjects for paragraph in say(data)]
    return Section(TITLE, [*_about(data), *paragraphs] if paragraphs else [Text(NOTHING)])


def _about(data: ReportData) -> list[Text]:
    """What was trained, and how the figures are to be read."""
    trained = data.shown_trainings.values()
    if not trained:
        return []
    compared = [reproduced for reproduced in data.reproduced if reproduced.comparable]
    seeds = [len(each.seeds) for each in trained]
    text = (
        "An unpublished course report trained a small convolutional network with one change at a time, each "
        "network once. "
        * bool(compared)
        + f"The tables of this page have {counted(len(trained), 'configuration')}, trained on {data.data_set} for "
        f"{from_to(seeds)} seed{'s' * (max(seeds) > 1)} each. An error is the share of the held-out images "
        "that are classified wrongly. ± is half the width of a 95% interval over seeds."
    )
    return [Text(text)]


def _reproduction(data: ReportData) -> list[Text]:
    compared = agreements(data.reproduced)
    if not compared:
        return []
    test, _ = compared
    if test.unjudged == test.printed:
        text = f"None of {counted(test.printed, 'printed test error')} can be judged: that takes two seeds that learn."
    else:
        text = (
            f"{changes_text(printed_changes(data.reproduced))} Of {counted(test.printed, 'printed test error')}, "
            f"{test.reproduced} {verb(test.reproduced, 'lie')} where one more of our runs would. Outside: "
            f"{test.not_reproduced}"
            + (f"; not judged: {test.unjudged}" if test.unjudged else "")
            + f". {test.shift_text} {data.about_lossy}"
        ).strip()
    return [Text(text, reproduced_tables.TITLE, lead="Reproduction")]


def _changes(data: ReportData) -> list[Text]:
    tested = [effect for effect in data.effects if effect.t_holm is not None]
    if not tested:
        return []
    raised, lowered, without, undecided = (
        [effect for effect in tested if effect.verdict is verdict]
        for verdict in (Verdict.HIGHER, Verdict.LOWER, Verdict.NO_EFFECT, Verdict.UNDECIDED)
    )
    at_chance = sum(effect.ended_at_chance for effect in data.effects)
    text = (
        f"Tested: {counted(len(tested), 'change')} of the network or of its training. {_moved(lowered, 'lower')}. "
        f"{_moved(raised, 'raise')}."
        + (f" {len(without)} {verb(len(without), 'change')} it by less than {data.margin:g}." if without else "")
        + (f" Undecided: {len(undecided)}." if undecided else "")
        + f" A test decides where p is below {ALPHA} after correction within each study."
        + (f" Not tested, because a training ended at chance: {at_chance}." if at_chance else "")
    )
    return [Text(text, effects_of_changes.TITLE, lead="Changes")]


def _moved(effects: Sequence[Effect], move: str) -> str:
    """How many changes raise or lower the error after the last epoch, and the largest of them with their size."""
    if not effects:
        return f"None {move}s the error"
    largest = sorted(effects, key=lambda effect: -abs(effect.mean))[:NAMED]
    named = []
    for effect in largest:
        against = "" if effect.against == BASELINE_NAME else f" against {effect.against}"
        named.append(f"{effect.name} by {abs(effect.mean):.4f}{against}")
    most = "most of all " if len(effects) > NAMED else ""
    return f"{len(effects)} {verb(len(effects), move)} the error: {most}{listed(named)}"


def _batch_norm(data: ReportData) -> list[Text]:
    """At the learning rate of the tables, and at the best of each network."""
    text, details = [], ""
    effects = [
        effect for effect in data.effects if effect.config.ablation == BATCH_NORM and effect.reference.is_baseline
    ]
    effect = min(effects, key=lambda each: each.config.precision != BASELINE.precision, default=None)
    if effect:
        moves = "lowers" if effect.mean < 0 else "raises"
        certainty = "not significant after the correction for the number of changes"
        if effect.established:
            certainty = "more than chance explains"
        elif effect.verdict is Verdict.NO_EFFECT:
            certainty = f"less than the margin of {data.margin:g}"
        elif effect.ended_at_chance:
            certainty = "not tested, because a training ended at chance"
        elif effect.tests is None:
            certainty = "not tested"
        details = effects_of_changes.TITLE
        text.append(
            f"At a learning rate of {effect.config.lr:g}, batch norm {moves} the {HELD_OUT[effect.config.held_out]} by "
            f"{effect.size_text} ({counted(len(effect.differences), 'seed')}), which is {certainty}."
        )
    comparison = _envelope(data)
    if comparison and (errors := errors_by_rate(comparison.tables, data.tables, data.trainings)):
        details = loss_envelope.TITLE
        text += [
            same_rates_text(errors, comparison.error),
            best_rates_text(errors, comparison.error),
            next_best_text(errors),
        ]
    return [Text(" ".join(filter(None, text)), details, lead="Batch norm")] if text else []


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
        f"{range_text(*ranges(pair[0].epochs)[-1])}, the losses of a mini-batch at {len(pair[0].rates)} rates lie "
        f"{plain:.2f} apart without it and {norm:.2f} with it (difference {mean_text(heights, '+.2f')}, "
        f"{counted(len(heights), 'seed')}). The largest of them is {times[0]:.2f} times the smallest without it and "
        f"{times[1]:.2f} times with it (difference {mean_text(ratios, '+.2f')})."
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
            [network for network in arm.networks if network.config.batch_norm == has and not network.ended_at_chance]
            for has in (False, True)
        )
        if arm.table == data.smoothness[0].table and len(plain) == len(norm) == 1:
            compared += _smoother(arm.optimizer, plain[0], norm[0])
    if not compared:
        return []
    text = (
        "How much the loss and its gradient vary along the gradient was measured in four ways (Santurkar et al. "
        f"2018). A loss is called smoother by one of them where that is below {SMOOTHER:g} of the other network's with "
        f"every seed. {' '.join(compared)} "
        f"{not_the_step(data.smoothness)}"
    ).strip()
    return [Text(text, gradient_smoothness.TITLE, lead="Smoothness")]


def _smoother(optimizer: str, plain: ProbedNetwork, norm: ProbedNetwork) -> list[str]:
    """By which measures batch norm makes the loss smoother and by which rougher, in sentences. Empty where the two
    differ in more than batch norm, or share no seed."""
    seeds = plain.probes.keys() & norm.probes.keys()
    if not seeds or norm.config != plain.config.change(batch_norm=True):
        return []
    without, with_norm = (
        np.array([astuple(medians(network.probes[seed])) for seed in seeds]) for network in (plain, norm)
    )
    smoother, rougher = (
        np.all(these < SMOOTHER * those, axis=0) for these, those in ((with_norm, without), (without, with_norm))
    )
    by_verdict: dict[str, list[str]] = {"smoother": [], "rougher": [], "neither smoother nor rougher": []}
    for index, (name, a, b) in enumerate(zip(MEASURES, without.mean(0), with_norm.mean(0), strict=True)):
        verdict = "smoother" if smoother[index] else "rougher" if rougher[index] else "neither smoother nor rougher"
        by_verdict[verdict].append(f"{name} ({a:.3g} without it, {b:.3g} with it)")
    found = [f"{verdict} by {listed(names)}" for verdict, names in by_verdict.items() if names]
    return [f"With {optimizer} ({counted(len(seeds), 'seed')}), batch norm makes it {'; '.join(found)}."]


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
