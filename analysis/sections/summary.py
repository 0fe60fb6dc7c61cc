"""The report's first section: a few plain sentences, each with one result and a link to its details."""

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np

from analysis.agreement import agreements
from analysis.claims import BATCH_NORM
from analysis.effects import ALPHA, Verdict, p_text
from analysis.envelope import difference, range_text, ranges
from analysis.intervals import as_text, half_width, seed_count
from analysis.learning_rates import best_rates_text, errors_by_rate
from analysis.page import Section, Text
from analysis.proof import Proof, Proven
from analysis.recorded import VAL_ERROR, WINNER_METRIC, TrialRecord
from analysis.report_data import ReportData
from analysis.searches import RecordedSearch
from analysis.sections import (
    effects_of_changes,
    gradient_smoothness,
    hyperparameter_search,
    loss_envelope,
    reproduced_tables,
)
from analysis.sections import proof as proof_section
from analysis.smoothness import mean_medians
from analysis.tables import BASELINE, HELD_OUT, capital

TITLE = "In short"
NOTHING = "The record holds too little yet for a summary: each section below says what is missing."
NAMED = 4
"""Changes are listed by name where there are no more than so many."""


def section(data: ReportData) -> Section:
    """At most one paragraph on each subject, with a link to its section. What the record lacks is left out."""
    subjects: tuple[tuple[Callable[[ReportData], str], str], ...] = (
        (_reproduction, reproduced_tables.TITLE),
        (_changes, effects_of_changes.TITLE),
        (_batch_norm, effects_of_changes.TITLE),
        (_envelope, loss_envelope.TITLE),
        (_smoothness, gradient_smoothness.TITLE),
        (_search, hyperparameter_search.TITLE),
        (_proof, proof_section.TITLE),
    )
    sentences = [Text(sentence, details) for say, details in subjects if (sentence := say(data))]
    return Section(TITLE, [*sentences] or [Text(NOTHING)])


def _reproduction(data: ReportData) -> str:
    compared = agreements(data.reproduced)
    if not compared:
        return ""
    test, _ = compared
    if test.unjudged == test.printed:
        return (
            f"None of the {test.printed} printed test errors with ours beside them can be judged: that takes two seeds "
            "that learn."
        )
    return (
        f"Of {test.printed} printed test errors with ours beside them, {test.reproduced} are reproduced: they lie "
        f"where one more run of ours would fall with a probability of 95%. {test.not_reproduced} are not"
        + (
            f" (by chance alone, so many or more with a probability of {p_text(test.chance_p)})"
            if test.not_reproduced
            else ""
        )
        + (f", and {test.unjudged} cannot be judged" if test.unjudged else "")
        + f". {test.shift_text}"
        + (f" {reproduced_tables.ABOUT_LOSSY}" if data.lossy else "")
    )


def _changes(data: ReportData) -> str:
    tested = [effect for effect in data.effects if effect.t_holm is not None]
    if not tested:
        return ""
    raised, lowered, without, undecided = (
        [effect.name for effect in tested if effect.verdict is verdict]
        for verdict in (Verdict.HIGHER, Verdict.LOWER, Verdict.NO_EFFECT, Verdict.UNDECIDED)
    )
    counts = sorted({len(effect.differences) for effect in tested if effect.verdict is Verdict.UNDECIDED})
    seeds = " to ".join(map(str, dict.fromkeys(counts[:1] + counts[-1:])))
    return (
        f"Of {len(tested)} changes to the network or its training, {_counted(raised)} raise{_s(raised)} the error "
        f"after the last epoch and {_counted(lowered)} lower{_s(lowered)} it, with p below {ALPHA} after correction "
        "within each study"
        + (f"; {_counted(without)} change{_s(without)} it by less than {data.margin:g}" if without else "")
        + (f"; undecided with {seeds} seeds: {len(undecided)}." if undecided else ".")
    )


def _counted(names: list[str]) -> str:
    return (str(len(names)) if names else "none") + (f" ({', '.join(names)})" if 0 < len(names) <= NAMED else "")


def _s(names: list[str]) -> str:
    return "s" if len(names) == 1 else ""


def _batch_norm(data: ReportData) -> str:
    effects = [effect for effect in data.effects if effect.config.ablation == BATCH_NORM]
    if not effects:
        return ""
    effect = min(effects, key=lambda each: each.config.precision != BASELINE.precision)
    error = HELD_OUT[effect.config.held_out]
    verb = "lowers" if effect.mean < 0 else "raises"
    certainty = "more than chance explains" if effect.established else "too little to exclude chance"
    if effect.verdict is Verdict.NO_EFFECT:
        certainty = f"less than the margin of {data.margin:g}"
    images = ""
    if effect.crossed:
        low, high = effect.crossed
        images = f" Over new seeds and new images, its 95% interval is {low:+.4f} to {high:+.4f}."
    return (
        f"At a learning rate of {effect.config.lr:g}, batch norm {verb} the {error} after the last epoch by "
        f"{abs(effect.mean):.4f} in the mean over {seed_count(len(effect.differences))}, which is {certainty}.{images}"
    )


def _envelope(data: ReportData) -> str:
    comparison = next((each for each in data.envelopes if each.pair), None)
    if comparison is None or comparison.pair is None:
        return ""
    pair = comparison.pair
    by_network = [each.gaps() for each in pair], [each.ratios() for each in pair]
    (plain, norm), times = ([fmean(values[-1].values()) for values in each] for each in by_network)
    heights, ratios = (list(difference(*each)[-1].values()) for each in by_network)
    if not heights or not np.isfinite([plain, norm]).all():  # a training diverged
        return ""
    errors = errors_by_rate(comparison.tables, data.trainings)
    signs = {_sign(heights), _sign(ratios)}
    found = "may or may not depend less"
    if len(signs) == 1 and 0 not in signs:
        found = "depends less" if -1 in signs else "depends more"
    return (
        f"{capital(pair[0].name)} ({comparison.setting}): the largest minus the smallest of the mini-batch losses at "
        f"{len(pair[0].rates)} learning rates, averaged over {range_text(*ranges(pair[0].epochs)[-1])}, is {plain:.2f} "
        f"without batch norm and {norm:.2f} with it (the difference is {as_text(heights, '+.2f')}; "
        f"{seed_count(len(heights))}). The largest is {times[0]:.2f} and {times[1]:.2f} times the smallest (the "
        f"difference is {as_text(ratios, '+.2f')}). The training loss {found} on the learning rate with batch norm "
        "there." + (f" {best_rates_text(errors, comparison.error, data.margin)}" if errors else "")
    )


def _sign(differences: Sequence[float]) -> int:
    """The sign of the mean; 0 where its 95% interval includes 0."""
    mean, half = float(np.mean(differences)), half_width(differences)
    return int(np.sign(mean)) if half is not None and abs(mean) > half else 0


def _smoothness(data: ReportData) -> str:
    compared = []
    for arm in data.smoothness:
        plain, norm = (
            [network for network in arm.networks if network.config.batch_norm == has and not network.at_chance]
            for has in (False, True)
        )
        if arm.table == data.smoothness[0].table and len(plain) == len(norm) == 1:
            before, after = (mean_medians(network.probes.values()) for (network,) in (plain, norm))
            compared.append(
                f"With {arm.optimizer} ({seed_count(len(plain[0].probes))}), the range of the loss is "
                f"{before.loss_range:.2g} without batch norm and {after.loss_range:.2g} with it, that of gradient "
                f"predictiveness {before.predictiveness_range:.2g} and {after.predictiveness_range:.2g}, the largest "
                f"beta-smoothness {before.largest_beta:.3g} and {after.largest_beta:.3g}, and beta-smoothness at the "
                f"longest step {before.longest_beta:.3g} and {after.longest_beta:.3g}."
            )
    if not compared:
        return ""
    return (
        "We measured how much the loss and its gradient change along the gradient, over steps of 1/2 to 4 times the "
        "learning rate. The figures are medians over the measured steps of a training, averaged over the seeds. A "
        "lower one is smoother, and the first three are those of Santurkar et al. 2018. "
        f"{' '.join(compared)}"
        + ("" if all(arm.by_sgd for arm in data.smoothness) else f" {gradient_smoothness.NOT_THE_STEP}")
    )


def _search(data: ReportData) -> str:
    proven = {_subject(proof) for proof in data.proofs}
    return " ".join(
        _found(recorded, best) + ("" if recorded.search.title in proven else f" {_error(best)}")
        for recorded in data.searches
        if (best := recorded.winner)
    )


def _found(recorded: RecordedSearch, best: TrialRecord) -> str:
    race = recorded.race
    standing = [racer for racer in race.racers if race.winner and not racer.dropped and racer.key != best.key]
    others = [racer.name + " (a start point)" * (racer.config in recorded.start_points) for racer in standing]
    return (
        f"{recorded.search.title}: the best of {len(recorded.trials)} configurations ({len(recorded.complete)} ran to "
        f"their last epoch) is {best.name}"
        + (", one of the settings that it was told to start from" if best.config in recorded.start_points else "")
        + "."
        + (f" Its race does not tell it apart from {_listed(others)}." if others else "")
    )


def _error(best: TrialRecord) -> str:
    if WINNER_METRIC in best.metrics:
        return f"It has a test error of {best.metrics[WINNER_METRIC]:.4f}."
    return f"It has a validation error of {best.metrics[VAL_ERROR]:.4f}, which is optimistic: it is the best of many."


def _proof(data: ReportData) -> str:
    return " ".join(map(_proven, data.proofs))


def _subject(proof: Proof) -> str:
    """The title of the search whose winner is proven."""
    return proof.table.title.removeprefix("Proof: ")


def _proven(proof: Proof) -> str:
    winner, reference = proof.winner, proof.compared
    paired = proof.difference
    difference = ""
    if paired.values:
        p = "" if paired.p is None else f" (p {p_text(paired.p)})"
        seeds = seed_count(len(paired.values))
        difference = f" The difference, paired over {seeds}, is {as_text(paired.values, '+.4f')}{p}."
    return (
        f"{_subject(proof)}: its winner has {_described(winner)}. The configuration that it is compared with has "
        f"{_described(reference)}.{difference} The two differ in {_listed(_changes_of(winner, reference))}."
    )


def _described(proven: Proven) -> str:
    """Its test error, for how long it was trained and for how many seeds."""
    errors, flips = (list(each.values()) for each in (proven.errors, proven.flipped_errors))
    flipped = f" ({fmean(flips):.4f} with test-time flips)" if flips else ""
    return (
        f"a test error of {as_text(errors)}{flipped} after {proven.config.epochs} epochs, over "
        f"{seed_count(len(errors))}"
    )


def _changes_of(winner: Proven, reference: Proven) -> list[str]:
    """The settings in which two configs differ."""
    ours, theirs = winner.config.model_dump(), reference.config.model_dump()
    return [name for name, value in ours.items() if value != theirs[name]]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
