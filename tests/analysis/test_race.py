"""The race of a search's best configs: who is dropped, who wins, and which trainings it still needs."""

from dataclasses import replace

import pytest
from scipy import stats

from analysis.record.recorded import TrialRecord, ranked
from analysis.statistics.race import race_standing
from tests.analysis_records import search, search_trial
from trainable.search_definition import Race
from trainable.search_space import Range

SEARCH = search({"lr": Range(low=1e-5, high=0.1, log=True)}, epochs=1)
RACE = Race(candidates=3, first_test=3, seeds=5, alpha=0.05)
SURELY_BEHIND, CLOSE, LUCKY = [0.39, 0.42, 0.40, 0.41, 0.40], [0.21, 0.20, 0.20, 0.21, 0.20], [0.20] * 5
CANDIDATES = [search_trial(name, SEARCH, {"lr": lr}, [error])
              for name, lr, error in (("behind", 0.01, 0.1), ("close", 0.02, 0.2), ("lucky", 0.03, 0.3))]  # fmt: skip


def trained(candidate: TrialRecord, errors: list[float]) -> TrialRecord:
    """A trial of the candidate for seeds 1, 2, ..."""
    metrics = {f"val_error/seed_{seed}": error for seed, error in enumerate(errors, start=1)}
    return replace(candidate, metrics=metrics, seeds=tuple(range(1, len(errors) + 1)))


def standing(*errors: list[float]):
    trials = [trained(candidate, of_it) for candidate, of_it in zip(CANDIDATES, errors, strict=True) if of_it]
    return race_standing(RACE, CANDIDATES, [*CANDIDATES, *trials], searched=(0,))


def test_the_first_round_trains_every_config_for_the_seeds_before_the_first_test() -> None:
    first = standing([], [], [])
    assert first.to_run == {candidate.key: (1, 2, 3) for candidate in CANDIDATES}
    assert first.winner is None
    assert standing(LUCKY[:3], CLOSE[:2], []).to_run == {CANDIDATES[1].key: (3,), CANDIDATES[2].key: (1, 2, 3)}


def test_a_config_that_is_surely_behind_is_dropped_and_trains_no_further() -> None:
    second = standing(SURELY_BEHIND[:3], CLOSE[:3], LUCKY[:3])
    behind, close, lucky = second.racers
    expected = stats.ttest_rel(SURELY_BEHIND[:3], LUCKY[:3], alternative="greater").pvalue
    assert behind.p == pytest.approx(expected)
    assert behind.p < RACE.alpha
    assert not close.dropped
    assert not lucky.dropped
    assert second.to_run == {close.key: (4,), lucky.key: (4,)}


def test_the_winner_is_the_best_mean_over_the_further_seeds_alone() -> None:
    over = standing(SURELY_BEHIND[:3], CLOSE, LUCKY)
    assert over.to_run == {}
    assert over.winner is not None
    assert over.winner.name == "lucky", "in the search itself it was last"


def test_configs_that_are_equal_race_to_the_last_seed() -> None:
    assert standing(LUCKY[:4], LUCKY[:4], LUCKY[:4]).to_run == {candidate.key: (5,) for candidate in CANDIDATES}
    assert standing(LUCKY, LUCKY, LUCKY).winner is not None


def test_a_config_that_is_behind_by_the_same_in_every_seed_is_not_dropped() -> None:
    """A test has nothing to go by: no seed differs from another."""
    behind = [error + 0.01 for error in LUCKY[:3]]
    assert not any(racer.dropped for racer in standing(behind, LUCKY[:3], LUCKY[:3]).racers)


def test_of_several_trials_of_a_config_the_first_complete_one_counts() -> None:
    complete = search_trial("first", SEARCH, {"lr": 0.01}, [0.1])
    again = replace(complete, name="again", metrics={"val_error": 0.5}, start_time=2)
    stopped = replace(complete, name="stopped", status="KILLED", start_time=3)
    assert [trial.name for trial in ranked([stopped, again, complete])] == ["first"]


def test_of_several_trainings_of_a_seed_the_first_one_counts_in_the_race() -> None:
    behind, *_ = CANDIDATES
    again = trained(behind, [0.9, 0.9, 0.9, 0.41])
    trials = [*CANDIDATES, trained(behind, SURELY_BEHIND[:3]), again]
    (racer, *_) = race_standing(RACE, CANDIDATES, trials, searched=(0,)).racers
    assert racer.errors == dict(enumerate([*SURELY_BEHIND[:3], 0.41], start=1))


def test_a_race_needs_seeds_before_it_tests() -> None:
    with pytest.raises(ValueError, match="first_test 6 must not be above seeds 5"):
        Race(first_test=6)
