"""A search goes on from what the record has of it, and learns from other trials of its space."""

from dataclasses import replace

import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from ray.tune.experiment import Trial

from sweeps.planning.search_plan import plan_search
from sweeps.running.searcher import TrialSearch, make_scheduler
from sweeps.running.specs import TrialContext
from tests.analysis_records import trial
from tests.searches import STUDY, result, search
from trainable.config import RECIPE
from trainable.tune_trainable import spec_of


def test_the_search_starts_with_the_best_of_another_number_of_epochs() -> None:
    plan = search()
    trained = plan.search.config({"optimizer": "adamw", "adamw_lr": 0.02, "dropout": 0.1})
    longer = trained.change(epochs=40)
    recorded = trial("longer", {}, longer, key=longer.key("f"), seeds=(0,), metrics={"val_error": 0.1},
                     tags={"study": "two-optimizers", "table": "two-optimizers", "data_fingerprint": "f",
                           "outcome": "complete"})  # fmt: skip
    known = plan.with_trials([recorded]).with_histories([])
    searcher = TrialSearch(known, TrialContext("f", None, "nowhere"))
    suggested = [spec_of(searcher.suggest(f"trial-{number}") or {}).config for number in range(2)]
    started = plan.search.config({"optimizer": "momentum", "sgd_lr": 0.1, "momentum": 0.9, "dropout": 0.0})
    assert suggested == [trained, started]


def test_a_failed_trial_is_tried_again_first_and_names_do_not_repeat() -> None:
    plan = search()
    config = plan.search.config({"optimizer": "adamw", "adamw_lr": 0.01, "dropout": 0.0})
    tags = {"study": "two-optimizers", "table": "two-optimizers", "data_fingerprint": "f"}
    failed = trial("two-optimizers-007", {}, config, tags=tags, status="FAILED", key=config.key("f"), seeds=(0,))
    searcher = TrialSearch(plan.with_trials([failed]), TrialContext("f", None, "nowhere"))
    names = [spec_of(searcher.suggest(f"trial-{number}") or {}).name for number in range(3)]
    assert names == ["two-optimizers-007", "two-optimizers-008", "two-optimizers-009"]


def test_trials_of_an_earlier_training_recipe_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = search(samples=1)
    config = plan.search.config({"optimizer": "adamw", "adamw_lr": 0.01, "dropout": 0.0})
    recorded = trial(
        "earlier", {}, config, key=config.key("f"), seeds=(0,), histories={"val_error": [(1, 0.5), (2, 0.4)]},
        tags={"study": "two-optimizers", "table": "two-optimizers", "data_fingerprint": "f", "outcome": "complete"},
    )  # fmt: skip
    assert (plan.with_trials([recorded]).to_run, plan.with_trials([recorded]).known) == (0, [recorded])
    monkeypatch.setattr("trainable.config.RECIPE", RECIPE + 1)
    later = plan.with_trials([replace(recorded)])
    assert (later.to_run, later.known) == (1, [])


def test_a_search_learns_from_a_calibration_and_the_budget_ends_it() -> None:
    """Trials of other studies count where they lie in the space and are complete, but not as samples."""
    plan = search(samples=3)
    configs = [plan.search.config({"optimizer": "adamw", "adamw_lr": rate, "dropout": 0.0}) for rate in (0.01, 0.02)]
    calibrated, stopped, sampled = (
        trial(
            f"{study}-{outcome}", {}, config, key=config.key("f"), seeds=(0,), metrics={"training_s": 30.0},
            histories={"val_error": errors},
            tags={"study": study, "table": study, "data_fingerprint": "f", "outcome": outcome},
        )
        for study, outcome, config, errors in (
            ("calibration", "complete", configs[0], [(1, 0.5), (2, 0.4)]),
            ("calibration", "stopped", configs[1], [(1, 0.6)]),
            ("two-optimizers", "stopped", configs[1], [(1, 0.5)]),
        )
    )  # fmt: skip
    known = plan.with_trials([calibrated, stopped, sampled])
    assert known.judged == [calibrated, sampled]
    assert (known.to_run, known.spent_s) == (2, 30.0)
    assert replace(known, budget_s=31.0).to_run == 2
    assert replace(known, budget_s=30.0).to_run == 0
    told = []

    class Listening(RandomSampler):
        def before_trial(self, study, trial) -> None:
            past = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
            told.extend((each.state, each.params, each.intermediate_values) for each in past)

    searcher = TrialSearch(known, TrialContext("f", None, "nowhere"), Listening(seed=0))
    assert spec_of(searcher.suggest("next") or {}).config not in configs
    assert told == [
        (TrialState.COMPLETE, {"optimizer": "adamw", "adamw_lr": 0.01, "dropout": 0.0}, {1: 0.5, 2: 0.4}),
        (TrialState.PRUNED, {"optimizer": "adamw", "adamw_lr": 0.02, "dropout": 0.0}, {1: 0.5}),
    ]
    assert TrialSearch(replace(known, budget_s=30.0), TrialContext("f", None, "nowhere")).suggest("next") == "FINISHED"


def test_a_trial_that_went_on_in_a_later_run_has_spent_the_time_of_the_longer_run() -> None:
    plan = search()
    config = plan.search.config({"optimizer": "adamw", "adamw_lr": 0.01, "dropout": 0.0})
    runs = [
        trial(
            "two-optimizers-001", {}, config, key=config.key("f"), seeds=(0,), metrics={"training_s": seconds},
            tags={"study": "two-optimizers", "table": "two-optimizers", "data_fingerprint": "f"}, status=status,
        )
        for status, seconds in (("KILLED", 20.0), ("KILLED", 50.0), ("FINISHED", 30.0))
    ]  # fmt: skip
    assert plan.with_trials(runs).spent_s == 50.0


def test_asha_compares_at_the_searchs_rungs_and_lets_one_in_so_many_go_on() -> None:
    plan = plan_search(STUDY, base={"data": "digits", "epochs": 20}, samples=8, fingerprint="f", trials=())
    scheduler = make_scheduler(plan)
    assert plan.search.rungs == (5, 15)
    trials = [Trial("unregistered", stub=True) for _ in range(6)]
    for each in trials:
        scheduler.on_trial_add(None, each)

    def decided(number: int, error: float, epoch: int) -> str:
        return scheduler.on_trial_result(None, trials[number], result(error, epoch))

    assert [decided(0, 0.9, epoch) for epoch in (1, 2, 4)] == ["CONTINUE"] * 3, "no rung, no comparison"
    for number, error in enumerate((0.1, 0.2, 0.3)):
        decided(number, error, 5)
    assert decided(3, 0.18, 5) == "STOP", "it is among the better half, and not among the best third"
    assert decided(4, 0.05, 5) == "CONTINUE"
    assert decided(5, 0.9, 5) == "STOP"
    assert decided(4, 0.9, 14) == "CONTINUE"


def test_a_continued_search_stops_a_trial_that_is_behind_those_of_the_record() -> None:
    """Half of the trials go on at the rung after the first epoch, so that the record alone decides."""
    plan = search()
    recorded = [
        trial(
            f"two-optimizers-00{number}", {}, config, key=config.key("f"), seeds=(0,), histories={"val_error": errors},
            tags={"study": "two-optimizers", "table": "two-optimizers", "data_fingerprint": "f", "outcome": "complete"},
        )
        for number, error in enumerate((0.2, 0.3, 0.4, 0.5))
        for config in [plan.search.config({"optimizer": "adamw", "adamw_lr": 0.01 + number / 1000, "dropout": 0.0})]
        for errors in [[(1, error), (2, error)]]
    ]  # fmt: skip
    for known, error, decision in ((recorded, 0.45, "STOP"), (recorded, 0.25, "CONTINUE"), ([], 0.45, "CONTINUE")):
        scheduler, new = make_scheduler(plan.with_trials(known)), Trial("unregistered", stub=True)
        scheduler.on_trial_add(None, new)
        assert scheduler.on_trial_result(None, new, result(error, 1)) == decision
