"""The proof of a search's winner in the report: its numbers against known ones, its section, and what is missing."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.proof import Predicted, calibration_error, confusion, mcnemar, proof_tables, proofs, reliability
from analysis.statistics.intervals import mean_text
from analysis.statistics.t_tests import paired_difference
from sweeps.planning.rates import Rates
from sweeps.planning.table_plan import plan_tables, resolve_table
from sweeps.studies.config_file import read_config
from sweeps.studies.proof import proof_study
from sweeps.studies.search import SEARCH
from tests.analysis_records import TAGS, Recorded, page_of, search, sweep, table, trial
from trainable.config import Config
from trainable.files import PREDICTIONS
from trainable.measures import PREDICTED_CLASSES
from trainable.search_definition import Goal
from trainable.search_space import Range

LABELS = np.arange(20) % 10
REFERENCE = Config(data="digits", batch_norm=True, epochs=2)
WINNER = REFERENCE.change(optimizer="momentum", lr=0.1, nesterov=True, label_smoothing=0.1, flip=True)
ERRORS = {"reference": (0.30, 0.32, 0.31), "winner": (0.20, 0.23, 0.20)}


def predicted(wrong: int, confidence: float = 0.9) -> Predicted:
    """All images right but the first ones, which are taken for the next class."""
    classes = LABELS.copy()
    classes[:wrong] = (classes[:wrong] + 1) % 10
    return Predicted(LABELS, classes, np.full(20, confidence, np.float16))


def test_mcnemar_counts_the_images_on_which_the_two_disagree() -> None:
    """Six images on one side alone: the exact two-sided p is 2 / 2**6."""
    (test,) = mcnemar({1: predicted(wrong=2), 2: predicted(0)}, {1: predicted(wrong=8)})
    assert (test.seed, test.only_winner, test.only_compared) == (1, 6, 0)
    assert test.p == pytest.approx(2 / 64)
    (same,) = mcnemar({0: predicted(3)}, {0: predicted(3)})
    assert (same.only_winner, same.only_compared, same.p) == (0, 0, 1.0)


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy() -> None:
    assert calibration_error(predicted(wrong=5, confidence=0.75)) == pytest.approx(0, abs=1e-3)
    assert calibration_error(predicted(wrong=10, confidence=0.75)) == pytest.approx(0.25, abs=1e-3)
    half = predicted(wrong=10, confidence=0.75)
    sure = replace(half, confidences=np.where(half.correct, 1.0, 0.5))
    assert [(each.confidence, each.accuracy, each.count) for each in reliability([sure])] == [(0.5, 0, 10), (1, 1, 10)]
    assert calibration_error(sure) == pytest.approx(0.25), "half of the images at a distance of .5"


def test_confusion_is_by_true_class_and_a_mean_over_the_seeds() -> None:
    shares = confusion({0: predicted(wrong=1), 1: predicted(wrong=0)})
    assert shares[0, 1] == pytest.approx(0.25), "one of two images, in one of two seeds"
    assert shares.sum(1) == pytest.approx(np.ones(10))


def test_what_one_field_switches_off_is_taken_back_with_it() -> None:
    compared = Config(loss="hinge")
    winner = Config(batch_norm=True, bn_momentum=0.3, label_smoothing=0.1, dropout=0.2)
    _, differences = proof_study(SEARCH, compared, winner, 1, 1).tables
    assert [row.name for row in differences.rows] == [
        "winner", "without batch_norm true, bn_momentum 0.3", "without dropout 0.2",
        "without loss cross_entropy, label_smoothing 0.1",
    ]  # fmt: skip


def test_a_difference_of_many_values_has_a_name_that_fits() -> None:
    """Of an SGD winner as the search draws them: with its values the name would take 101 bytes."""
    fields = {"nesterov": True, "lr": 0.312, "weight_decay": 0.000519, "decay_norm_and_bias": False}
    winner = REFERENCE.change(optimizer="momentum", **fields)
    _, differences = proof_study(SEARCH, REFERENCE, winner, 1, 1).tables
    assert differences.rows[1].name == "without optimizer, lr, nesterov, weight_decay, decay_norm_and_bias"


def test_differences_are_paired_by_seed() -> None:
    difference = paired_difference({0: 0.2, 1: 0.3, 5: 0.9}, {1: 0.4, 0: 0.25})
    assert difference.values == pytest.approx((-0.05, -0.1))
    assert paired_difference({0: 0.2}, {0: 0.3}).p is None


def test_every_difference_of_the_winner_is_taken_back_once_with_what_belongs_to_it() -> None:
    _, table = proof_study(SEARCH, REFERENCE, WINNER, 3, 5).tables
    assert [row.name for row in table.rows] == [
        "winner", "without label_smoothing 0.1", "without optimizer momentum, lr 0.1, nesterov true",
        "without flip true",
    ]  # fmt: skip
    configs = [Config(**row.change) for row in table.rows]
    assert configs[0] == WINNER
    assert configs[2] == REFERENCE.change(label_smoothing=0.1, flip=True)
    assert table.seeds == 5


def test_an_optimizer_takes_its_weight_decay_with_it_which_is_taken_back_alone_too() -> None:
    """A decoupled decay would be another penalty with an optimizer that couples it."""
    winner = REFERENCE.change(optimizer="adamw", lr=0.01, weight_decay=0.03)
    _, table = proof_study(SEARCH, REFERENCE, winner, 3, 5).tables
    assert {row.name: Config(**row.change) for row in table.rows[1:]} == {
        "without optimizer adamw, lr 0.01, weight_decay 0.03": REFERENCE,
        "without weight_decay 0.03": winner.change(weight_decay=0.0),
    }


def test_the_proof_is_trained_before_what_only_explains_it() -> None:
    study = proof_study(SEARCH, REFERENCE, WINNER, 10, 5)
    plan = plan_tables([study], base={"data": "digits"}, fingerprint="f", seeds=1, recorded={}, rates=Rates("cpu"))
    assert {config.name: len(config.seeds) for config in plan.without_differences.to_run} == {
        "search-proof-reference": 10,
        "search-proof-winner": 10,
    }
    assert len(plan.claims) - len(plan.without_differences.claims) == 3 * 5, "the winner's seeds serve both"


def recorded(predictions: bool, differences: bool, winner: Config = WINNER) -> Recorded:
    study = proof_study(SEARCH, REFERENCE, winner, 3, 3 if differences else 0)
    tables = [resolve_table(study.name, table, {"data": "digits", "epochs": 2}, "abc", 1) for table in study.tables]
    trials = []
    for each in tables:
        for index, row in enumerate(each.rows):
            errors = ERRORS.get(row.name, [0.25 + index / 100] * 3)
            made = {seed: [0.5, error + seed / 1000] for seed, error in enumerate(errors)}
            if row.key not in {each.key for each in trials}:
                trials.append(trial(row.name, made, row.config, key=row.key, tags=TAGS | {"data": "digits"}))
    record = Recorded(trials, sweep(*tables))
    for each in trials[:2] if predictions else ():
        arrays = {"labels": LABELS}
        for seed in each.seeds:
            for kind, wrong in (("", 6 if each.name == "reference" else 2), ("flipped_", 1)):
                of_seed = predicted(wrong)
                arrays[f"seed_{seed}/{kind}classes"] = of_seed.classes
                arrays[f"seed_{seed}/{kind}confidences"] = of_seed.confidences
        record.files[each.run_id, PREDICTIONS] = arrays
    return record


def test_the_page_shows_both_errors_their_difference_and_what_it_is_made_of(tmp_path: Path) -> None:
    page = page_of(tmp_path, recorded(predictions=True, differences=True))
    assert "| reference (digits, 2 epochs, fp32) | 0.3000 ± 0.0000 (3 seeds) | 0.0500 ± 0.0000 (3 seeds) |" in page, (
        "the errors are those of the trainings whose predictions are recorded"
    )
    assert "| winner (digits, 2 epochs, fp32) | 0.1000 ± 0.0000 (3 seeds) |" in page
    assert "| winner minus reference | -0.2000 ± 0.0000 |" in page
    assert "| 0 | 4 | 0 | 0.125 |" in page, "McNemar's test of seed 0"
    assert "| without label_smoothing 0.1 | +0.0" in page and " | 3 | winner |" in page
    assert "The winner has a test error of 0.1000" in page
    assert "Changes of the winner that were taken back, each alone: 3, over 3 seeds. " in page
    assert "The two differ in label_smoothing" in page
    (again,) = read_config(tmp_path / "search-proof-winner.yaml").tables[0].rows
    assert Config(**again.change) == WINNER, "the file trains it again"
    for picture in ("confusion", "classes", "reliability", "differences"):
        assert (tmp_path / f"search-proof-{picture}.png").stat().st_size > 5_000
        assert (tmp_path / f"search-proof-{picture}.csv").exists()


def test_the_page_says_which_changes_that_are_taken_back_overlap(tmp_path: Path) -> None:
    winner = REFERENCE.change(optimizer="adamw", lr=0.01, weight_decay=0.03, flip=True)
    page = page_of(tmp_path, recorded(predictions=False, differences=True, winner=winner))
    assert "More than one row takes back weight_decay." in page


def test_the_page_says_what_a_proof_lacks(tmp_path: Path) -> None:
    page = page_of(tmp_path, recorded(predictions=False, differences=False))
    reference, winner = ([error + seed / 1000 for seed, error in enumerate(errors)] for errors in ERRORS.values())
    assert f"| reference (digits, 2 epochs, fp32) | {mean_text(reference)} (3 seeds) | - |" in page
    assert f"| winner (digits, 2 epochs, fp32) | {mean_text(winner)} (3 seeds) | - |" in page
    differences = [ours - theirs for ours, theirs in zip(winner, reference, strict=True)]
    assert f"| winner minus reference | {mean_text(differences, '+.4f')} |" in page
    assert "Missing: what the trainings predict" in page
    assert "Missing: what each of its differences is worth (--difference-seeds 5)." in page
    assert "| no winner of a search is proven (" in page_of(tmp_path / "none", Recorded([], sweep()))


def test_a_search_that_found_nothing_better_says_so_and_compares_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path, recorded(predictions=True, differences=True, winner=REFERENCE))
    assert page.count("The search found nothing better than the reference, which has a test error of 0.3000") == 2
    assert "McNemar" not in page and "winner minus reference" not in page
    assert (tmp_path / "search-proof-winner.yaml").exists()


def test_the_page_says_how_far_the_winner_is_from_the_goal(tmp_path: Path) -> None:
    goal = Goal(data="digits", epochs=2, test_error=0.06, test_error_with_flips=0.055)
    page = page_of(tmp_path, with_goal(goal))
    assert "\n| goal | 0.06 | 0.055 |\n" in page
    assert "\n| winner minus goal | +0.0400 ± 0.0000 | -0.0050 ± 0.0000 |\n" in page
    said = (
        "The goal was a test error of 0.06, which is missed by 0.0400 ± 0.0000, and 0.055 with test-time flips, which"
    )
    assert f"{said} is reached by 0.0050 ± 0.0000." in page
    alone = page_of(tmp_path / "alone", with_goal(goal.model_copy(update={"test_error_with_flips": None})))
    assert "\n| goal | 0.06 | - |\n" in alone


def test_the_distance_from_the_goal_is_the_same_number_everywhere(tmp_path: Path) -> None:
    """The mean error minus this goal rounds otherwise than the mean of the seeds' distances from it."""
    page = page_of(tmp_path, with_goal(Goal(data="digits", epochs=2, test_error=0.18015), predictions=False))
    (missed,) = re.findall(r"which is missed by ([\d.]+ ± [\d.]+)\.", page)
    assert f"| winner minus goal | +{missed} |" in page


@pytest.mark.parametrize("other", [{"epochs": 20}, {"data": "cifar10"}])
def test_a_goal_for_other_epochs_or_data_is_not_shown(tmp_path: Path, other: dict[str, object]) -> None:
    goal = Goal(data="digits", epochs=2, test_error=0.06).model_copy(update=other)
    assert "goal" not in page_of(tmp_path, with_goal(goal))


def with_goal(goal: Goal, predictions: bool = True) -> Recorded:
    """A proof, with the search that it belongs to."""
    record = recorded(predictions, differences=False)
    of_search = search({"dropout": Range(low=0.0, high=0.5)}, goal=goal)
    made = Recorded(record.histories(), sweep(*record.sweeps()[0].tables, searches=(of_search,)))
    made.files = record.files
    return made


def test_a_table_of_predictions_with_other_rows_is_no_proof() -> None:
    """A study of one's own may ask for that measure, too."""
    other = table().model_copy(update={"measure": PREDICTED_CLASSES})
    assert proof_tables([other]) == []
    assert proofs(Recorded([]), [other], {}) == []
