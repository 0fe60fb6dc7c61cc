"""The proof of a search's winner: its errors and predictions beside those of the config that it is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import stats
from sklearn.metrics import confusion_matrix

from analysis.record.recorded import Source
from analysis.record.replicates import Replicates
from analysis.statistics.crossed import CorrectImages
from analysis.statistics.effects import MARGIN, Effect, paired_effects
from analysis.statistics.t_tests import PairedDifference, paired_difference
from trainable.config import Config
from trainable.files import PREDICTIONS, entries_under, seed_name
from trainable.measures import DIFFERENCES, PREDICTED_CLASSES
from trainable.search_definition import COMPARED_ROW, WINNER_ROW, Goal
from trainable.study import ResolvedTable

BINS = 15
"""Bins of the confidence, all of the same width (Guo et al. 2017, arXiv 1706.04599, section 5)."""


@dataclass(frozen=True)
class Predicted:
    """What one training predicts for the N held-out images."""

    labels: np.ndarray
    """The true classes, (N,)."""
    classes: np.ndarray
    """The predicted classes, (N,)."""
    confidences: np.ndarray
    """The probabilities that the network gives them, (N,)."""

    @property
    def correct(self) -> np.ndarray:
        """Which images are classified correctly, bool (N,)."""
        return self.classes == self.labels

    @property
    def error(self) -> float:
        """The error rate."""
        return float(1 - self.correct.mean())


@dataclass(frozen=True)
class Proven:
    """One config of a proof."""

    name: str
    key: str
    config: Config
    errors: dict[int, float]
    """The test error after the last epoch, by seed. Where a seed was trained more than once, it is that of the training
    whose predictions are recorded."""
    plain: dict[int, Predicted]
    """By seed, where the record has them."""
    flipped: dict[int, Predicted]
    """The same with test-time flips: each image's class probabilities are averaged with its mirror image's."""

    @property
    def flipped_errors(self) -> dict[int, float]:
        """The test error with test-time flips, by seed."""
        return {seed: predicted.error for seed, predicted in self.flipped.items()}


@dataclass(frozen=True)
class WinnerAblation:
    """What each difference of a winner from the config that it is compared with is worth."""

    winner: dict[int, float]
    """The winner's test error, by seed."""
    earlier: bool
    """Whether they are those of an earlier winner, because no others are recorded."""
    effects: tuple[Effect, ...]
    """The error without a difference, minus the winner's: the most first."""
    missing: tuple[str, ...]
    """The names of the differences that are asked for and not trained."""


@dataclass(frozen=True)
class Proof:
    """A winner and the config that it is compared with."""

    table: ResolvedTable
    compared: Proven
    winner: Proven
    ablation: WinnerAblation | None
    """None where none are asked for."""
    goal: Goal | None = None
    """What the search was to reach, where it says that for such a winner."""

    @property
    def unchanged(self) -> bool:
        """Whether the search found nothing better than the config that its winner is compared with."""
        return self.winner.config == self.compared.config

    @property
    def difference(self) -> PairedDifference:
        """The winner's test error minus that of the config that it is compared with."""
        return paired_difference(self.winner.errors, self.compared.errors)

    @property
    def flipped_difference(self) -> PairedDifference:
        """The same with test-time flips."""
        return paired_difference(self.winner.flipped_errors, self.compared.flipped_errors)

    @property
    def over_goal(self) -> tuple[float, ...]:
        """The winner's test error minus the goal, by seed; empty where there is none."""
        return tuple(error - self.goal.test_error for error in self.winner.errors.values()) if self.goal else ()

    @property
    def flipped_over_goal(self) -> tuple[float, ...]:
        """The same with test-time flips."""
        goal = self.goal.test_error_with_flips if self.goal else None
        return tuple(error - goal for error in self.winner.flipped_errors.values()) if goal else ()


@dataclass(frozen=True)
class McNemar:
    """McNemar's test on the predictions of one seed of both configs (Dietterich 1998, Neural Computation 10:1895)."""

    seed: int
    only_winner: int
    """Images that the winner alone classifies correctly."""
    only_compared: int
    p: float
    """Exact and two-sided."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of like confidence."""

    confidence: float
    """Their mean confidence."""
    accuracy: float
    """The share of them that is right."""
    count: int


def proofs(
    source: Source,
    tables: Sequence[ResolvedTable],
    trainings: Mapping[str, Replicates],
    margin: float = MARGIN,
    correct: Mapping[str, CorrectImages] = MappingProxyType({}),
    goals: Mapping[str, Goal] = MappingProxyType({}),
) -> list[Proof]:
    """The proofs among a record's tables whose two configs are trained.

    `margin` and `correct` are those of `paired_effects`. `goals` are those of the searches, by the name of the study
    that proves the winner.
    """
    found = []
    for table in proof_tables(tables):
        rows = [table.row(name) for name in (WINNER_ROW, COMPARED_ROW)]
        if all(row.key in trainings for row in rows):
            winner, compared = (_proven(source, row.name, trainings[row.key]) for row in rows)
            searched = [each for each in tables if each.measure == DIFFERENCES and each.study == table.study]
            taken_back = next((each for each in searched if each.reference in trainings), None)
            ablation = _ablation(taken_back, winner.key, trainings, margin, correct) if taken_back else None
            goal = goals.get(table.study)
            of_winner = goal if goal and goal.is_for(winner.config) else None
            found.append(Proof(table, compared=compared, winner=winner, ablation=ablation, goal=of_winner))
    return found


def _ablation(
    table: ResolvedTable,
    winner: str,
    trainings: Mapping[str, Replicates],
    margin: float,
    correct: Mapping[str, CorrectImages],
) -> WinnerAblation:
    effects = paired_effects([table], trainings, margin, correct)
    return WinnerAblation(
        winner=trainings[table.reference].last_errors(),
        earlier=table.reference != winner,
        effects=tuple(sorted(effects, key=lambda effect: -effect.mean)),
        missing=tuple(row.name for row in table.rows if row.key not in trainings),
    )


def proof_tables(tables: Sequence[ResolvedTable]) -> list[ResolvedTable]:
    """The tables that hold a winner beside the config that it is compared with. Before a search has a winner, its table
    holds that config alone."""
    named = {WINNER_ROW, COMPARED_ROW}
    return [t for t in tables if t.measure == PREDICTED_CLASSES and named <= {row.name for row in t.rows}]


def mcnemar(winner: Mapping[int, Predicted], compared: Mapping[int, Predicted]) -> list[McNemar]:
    """The test for each seed that both have."""
    tests = []
    for seed in sorted(winner.keys() & compared.keys()):
        ours, theirs = winner[seed].correct, compared[seed].correct
        only_winner, only_compared = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
        discordant = only_winner + only_compared
        p = float(stats.binomtest(only_winner, discordant).pvalue) if discordant else 1.0
        tests.append(McNemar(seed, only_winner, only_compared, p))
    return tests


def confusion(predicted: Mapping[int, Predicted]) -> np.ndarray:
    """How often images of a class (row) are taken for a class (column), as a share of the row, mean over the seeds."""
    matrices = [confusion_matrix(each.labels, each.classes, normalize="true") for each in predicted.values()]
    return np.mean(matrices, axis=0)


def reliability(predicted: Sequence[Predicted]) -> list[ReliabilityBin]:
    """The predictions by confidence, in `BINS` bins of equal width, without empty ones."""
    confidences = np.concatenate([each.confidences for each in predicted]).astype(np.float64)
    correct = np.concatenate([each.correct for each in predicted])
    index = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)
    return [
        ReliabilityBin(
            float(confidences[index == b].mean()), float(correct[index == b].mean()), int((index == b).sum())
        )
        for b in np.unique(index)
    ]


def calibration_error(predicted: Predicted) -> float:
    """The expected calibration error (Guo et al. 2017, section 2): the mean distance between confidence and accuracy of
    the bins, weighted by their counts."""
    bins = reliability([predicted])
    return sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / sum(each.count for each in bins)


def _proven(source: Source, name: str, trained: Replicates) -> Proven:
    plain: dict[int, Predicted] = {}
    flipped: dict[int, Predicted] = {}
    for trial in trained.trials:
        if arrays := source.arrays(trial, PREDICTIONS):
            for seed in trial.seeds:
                of_seed = entries_under(f"{seed_name(seed)}/", arrays)
                for kind, into in (("", plain), ("flipped_", flipped)):
                    made = Predicted(arrays["labels"], of_seed[f"{kind}classes"], of_seed[f"{kind}confidences"])
                    into.setdefault(seed, made)
    errors = trained.last_errors() | {seed: predicted.error for seed, predicted in plain.items()}
    return Proven(name, trained.key, trained.config, errors, dict(sorted(plain.items())), dict(sorted(flipped.items())))
