"""What a search and the proof of its winner found, in sentences."""

from collections.abc import Sequence
from statistics import fmean

from analysis.proof import Proof, Proven
from analysis.record.recorded import VAL_ERROR, WINNER_METRIC, TrialRecord, ranked
from analysis.searches import RecordedSearch
from analysis.statistics.effects import Verdict
from analysis.statistics.intervals import from_to, mean_text
from analysis.writing.words import counted, listed, verb


def search_text(recorded: RecordedSearch, proof: Proof | None, earlier: Proof | None) -> str:
    """What a search found, and what the proof of its winner says. `earlier` is the recorded proof where that is of an
    earlier winner. Empty where neither a winner nor a proof is recorded."""
    best = recorded.winner
    said = [proof_text(proof)] if proof else []
    if best and not proof:
        said.append(_error(recorded, best))
    if earlier:
        said.append(
            "Its proof is not trained yet. The recorded proof is that of an earlier winner, which has "
            f"{_described(earlier.winner)}."
        )
    if best:
        said.append(_found(recorded, best))
    return " ".join(said)


def proof_text(proof: Proof) -> str:
    """The errors of a winner and of the config that it is compared with, the goal, and what helps."""
    winner, reference = proof.winner, proof.compared
    if proof.unchanged:
        return f"The search found nothing better than the reference, which has {_described(reference)}.{_goal(proof)}"
    paired = proof.difference
    difference = ""
    if paired.values:
        difference = f" The difference, paired by seed, is {paired.text}."
        if winner.config.epochs != reference.config.epochs:
            difference += " The two were trained for different numbers of epochs."
    return (
        f"The winner has {_described(winner)}. The configuration that it is compared with has "
        f"{_described(reference)}.{difference}{_goal(proof)}{_helping(proof)}"
    )


def _found(recorded: RecordedSearch, best: TrialRecord) -> str:
    """How the winner was chosen, in sentences."""
    race = recorded.race
    standing = [racer for racer in race.racers if race.winner and not racer.dropped and racer.key != best.key]
    others = [racer.name + " (a start point)" * (racer.config in recorded.start_points) for racer in standing]
    tried, complete, borrowed = len(recorded.own), len(recorded.complete), len(recorded.borrowed)
    counts = f"{counted(tried, 'configuration')}, {complete} of them to the last epoch"
    others_count = f" {counted(borrowed, 'configuration')} of other studies {verb(borrowed, 'count')}, too."
    start_point = ", one of those that the search was told to start from," * (best.config in recorded.start_points)
    raced = race.winner is not None and len(race.racers) > 1
    return (
        f"The search tried {counts}.{others_count * bool(borrowed)} "
        + (
            f"The best {len(race.racers)} raced over further seeds: {best.name}{start_point} has the lowest mean error"
            if raced
            else f"Of these {best.name}{start_point} has the lowest validation error"
        )
        + (f", but the race does not tell it apart from {listed(others)}." if others else ".")
        + (
            f" The test errors of {counted(len(earlier), 'other winner')} may have been known while this "
            "search went on, so that the winner's own may be a little too low."
            if (earlier := recorded.earlier_winners)
            else ""
        )
    )


def _error(recorded: RecordedSearch, best: TrialRecord) -> str:
    if WINNER_METRIC in best.metrics:
        return f"The winner has a test error of {best.metrics[WINNER_METRIC]:.4f}."
    return f"The winner has a validation error of {best.metrics[VAL_ERROR]:.4f} ({optimism_text(recorded)})."


def optimism_text(recorded: RecordedSearch) -> str:
    """How the winner's validation error stands among those of all configs that ran to their last epoch. Before the
    race is decided, the winner is the lowest of them. Raises `IndexError` where no trial is complete."""
    lowest, *others = ranked(recorded.known)
    if recorded.winner is lowest:
        return f"optimistic, as the lowest of {len(others) + 1}"
    return f"the lowest is {lowest.metrics[VAL_ERROR]:.4f}, of {lowest.name}, which did not win the race"


def _goal(proof: Proof) -> str:
    """Whether the goal is reached, in sentences; empty where there is none."""
    if proof.goal is None:
        return ""
    goal, flips = proof.goal.test_error, proof.goal.test_error_with_flips
    text = f" The goal was a test error of {goal:g}, which is {_reached(proof.over_goal)}"
    if flips and proof.flipped_over_goal:
        text += f", and {flips:g} with test-time flips, which is {_reached(proof.flipped_over_goal)}"
    return f"{text}."


def _reached(over: Sequence[float]) -> str:
    return f"missed by {mean_text(over)}" if fmean(over) > 0 else f"reached by {mean_text([-each for each in over])}"


def _helping(proof: Proof) -> str:
    """Which of the winner's differences help, in a sentence; empty where that is not known."""
    found = proof.ablation
    if found is None or found.earlier or not found.effects:
        return ""
    helping = [
        f"{effect.name.removeprefix('without ')} ({effect.mean:.4f})"
        for effect in found.effects
        if effect.verdict is Verdict.HIGHER
    ]
    without = sum(effect.verdict is Verdict.NO_EFFECT for effect in found.effects)
    seeds = from_to([len(effect.differences) for effect in found.effects])
    return (
        f" Changes of the winner that were taken back, each alone: {len(found.effects)}, over {seeds} seeds. "
        f"{len(helping)} of them {verb(len(helping), 'help')}"
        + (f": {'; '.join(helping)}" if helping else "")
        + "."
        + (
            f" {without} {verb(without, 'change')} the error by less than {found.effects[0].margin:g}."
            if without
            else ""
        )
    )


def _described(proven: Proven) -> str:
    """Its test error, for how long it was trained and for how many seeds."""
    errors, flips = (list(each.values()) for each in (proven.errors, proven.flipped_errors))
    flipped = f" ({fmean(flips):.4f} with test-time flips)" if flips else ""
    return f"a test error of {mean_text(errors)}{flipped} after {proven.config.epochs} epochs, over " + counted(
        len(errors), "seed"
    )
