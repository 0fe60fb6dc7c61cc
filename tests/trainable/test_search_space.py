"""Conditional parameters: each exists where its condition holds, for Optuna, for configs and back again."""

from dataclasses import replace
from statistics import fmean

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, TrialState
from pydantic import ValidationError

from sweeps.planning.resolve_search import resolve_search
from sweeps.planning.search_plan import plan_search
from sweeps.running.searcher import TrialSearch
from sweeps.running.specs import TrialContext
from tests.analysis_records import trial
from tests.searches import STUDY, result, search
from trainable.config import Config
from trainable.errors import UsageError
from trainable.resolved_search import ResolvedSearch
from trainable.search_definition import Scheduler, SearchDefinition, StartPoint
from trainable.search_space import Choice, Range, sample
from trainable.study import Study
from trainable.tune_trainable import spec_of


def test_a_parameter_exists_where_its_condition_holds() -> None:
    resolved = search().search
    adamw = resolved.config({"optimizer": "adamw", "adamw_lr": 0.01, "dropout": 0.1})
    assert (adamw.optimizer, adamw.lr, adamw.dropout, adamw.momentum) == ("adamw", 0.01, 0.1, 0.9)
    assert resolved.point(adamw) == {"optimizer": "adamw", "adamw_lr": 0.01, "dropout": 0.1}
    sgd = resolved.config({"optimizer": "momentum", "sgd_lr": 0.5, "momentum": 0.8, "dropout": 0.0})
    assert resolved.point(sgd) == {"optimizer": "momentum", "sgd_lr": 0.5, "momentum": 0.8, "dropout": 0.0}
    assert resolved.covers(adamw, "f") and resolved.covers(sgd, "f")
    assert not resolved.covers(adamw.change(loss="hinge"), "f")
    assert resolved.start_values(resolved.start[0]) == {
        "optimizer": "momentum", "sgd_lr": 0.1, "momentum": 0.9, "dropout": 0.0,
    }  # fmt: skip


def test_optuna_is_asked_for_what_exists_alone() -> None:
    fixed = FixedTrial({"optimizer": "momentum", "sgd_lr": 0.1, "momentum": 0.9, "dropout": 0.2})
    search().search.suggest(fixed)  # type: ignore[arg-type]
    assert fixed.params == {"optimizer": "momentum", "sgd_lr": 0.1, "momentum": 0.9, "dropout": 0.2}


def test_the_searcher_suggests_valid_configs_within_each_optimizers_own_range() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searcher = TrialSearch(search(), TrialContext("f", None, "nowhere"))
    configs: list[Config] = []
    for number in range(24):
        suggested = searcher.suggest(f"trial-{number}")
        assert isinstance(suggested, dict)
        configs.append(spec_of(suggested).config)
        searcher.on_trial_complete(f"trial-{number}", result(0.5 - configs[-1].dropout, 1, 2))
    assert configs[0] == Config(data="digits", protocol="B", epochs=2, optimizer="momentum", lr=0.1)
    assert {config.optimizer for config in configs} == {"adamw", "momentum"}
    for config in configs:
        low, high = (0.001, 0.03) if config.optimizer == "adamw" else (0.01, 1.0)
        assert low <= config.lr <= high
    first, last = (fmean(config.dropout for config in eight) for eight in (configs[:8], configs[-8:]))
    assert last > 0.23 > 0.2 > first, "of at most 0.3: it learns that more dropout has the lower error"


def test_the_last_result_of_a_trial_counts_though_tune_gives_it_at_its_end_alone() -> None:
    told = []

    class Listening(RandomSampler):
        def after_trial(self, study, trial, state, values) -> None:
            told.append((state, trial.intermediate_values))

    plan = replace(search(), budget_s=3.0)
    searcher = TrialSearch(plan, TrialContext("f", None, "nowhere"), Listening(seed=0))
    searcher.suggest("stopped")
    searcher.on_trial_complete("stopped", result(0.4, 1))
    searcher.suggest("complete")
    searcher.on_trial_result("complete", result(0.3, 1))
    searcher.on_trial_complete("complete", result(0.2, 2))
    assert told == [(TrialState.PRUNED, {1: 0.4}), (TrialState.COMPLETE, {1: 0.3, 2: 0.2})]
    assert searcher.suggest("next") == "FINISHED", "three epochs of a second each have spent the budget"


def test_no_trial_is_suggested_that_the_running_ones_leave_no_budget_for() -> None:
    searcher = TrialSearch(replace(search(), budget_s=4.0), TrialContext("f", None, "nowhere"))
    for number in range(2):
        assert isinstance(searcher.suggest(f"trial-{number}"), dict)
    assert isinstance(searcher.suggest("trial-2"), dict), "nothing is known of how long they take"
    searcher.on_trial_complete("trial-0", result(0.4, 1, 2))
    assert searcher.suggest("early") is None, "three trials of two seconds each take more than four"
    searcher.on_trial_complete("trial-1", result(0.4, 1))
    searcher.on_trial_complete("trial-2", error=True)
    assert isinstance(searcher.suggest("trial-3"), dict), "a second is left and nothing runs"


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ({"loss": ("hinge",)}, "lr: when loss is hinge: must be choices of a parameter that stands before it"),
        ({"optimizer": ("lion",)}, "lr: when optimizer is lion: must be choices of a parameter that stands before it"),
    ],
)
def test_a_condition_must_be_on_a_choice_before_it(when: dict, problem: str) -> None:
    space = {"optimizer": Choice(choices=("adam", "sgd")), "lr": Range(low=0.1, high=1.0, when=when)}
    with pytest.raises(ValidationError, match=problem):
        SearchDefinition(space=space)


def test_a_parameter_that_lacks_its_condition_is_refused_before_anything_starts() -> None:
    space = {"optimizer": Choice(choices=("adam", "momentum")), "momentum": Range(low=0.5, high=0.99)}
    study = Study(name="x", title="x", search=SearchDefinition(space=space))
    with pytest.raises(UsageError, match=r"momentum: 0\.99 has no effect here"):
        plan_search(study, base={}, samples=1, fingerprint="f", trials=())


def test_trials_outside_the_space_are_left_out() -> None:
    wide = search()
    configs = [wide.search.config({"optimizer": "adamw", "adamw_lr": rate, "dropout": 0.0}) for rate in (0.01, 0.5)]
    inside, outside = (
        trial(str(config.lr), {}, config, key=config.key("f"), seeds=(0,),
              tags={"study": "two-optimizers", "table": "two-optimizers", "data_fingerprint": "f"})
        for config in configs
    )  # fmt: skip
    plan = wide.with_trials([inside, outside])
    assert (plan.own, plan.outside) == ((inside,), 1)


def test_a_countable_space_has_no_more_samples_than_configs() -> None:
    flips = Choice(choices=(False, True))
    space = {"flip": flips, "shift": Range(low=1, high=3, when={"flip": (True,)})}
    study = Study(name="x", title="x", search=SearchDefinition(space=space))
    plan = plan_search(study, base={}, samples=10, fingerprint="f", trials=())
    assert len(plan.search.points() or ()) == plan.to_run == 4
    assert search().search.points() is None


def test_a_countable_space_is_tried_to_its_last_config_and_none_twice() -> None:
    space = {
        "shift": Range(low=0, high=3),
        "batch_size": Choice(choices=(64, 128, 256)),
        "flip": Choice(choices=(False, True)),
    }
    study = Study(name="x", title="x", search=SearchDefinition(space=space))
    plan = plan_search(study, base={"data": "digits", "epochs": 1}, samples=99, fingerprint="f", trials=())
    searcher, keys = TrialSearch(plan, TrialContext("f", None, "nowhere")), set()
    for number in range(plan.to_run):
        suggested = searcher.suggest(f"trial-{number}")
        assert suggested is not None
        spec = spec_of(suggested)
        assert spec.name == f"x-{number + 1:03d}"
        keys.add(spec.key)
        searcher.on_trial_complete(f"trial-{number}", result(0.5 - spec.config.shift / 10, 1))
    assert len(keys) == plan.to_run == 24
    assert searcher.suggest("one more") == "FINISHED"


def test_what_other_studies_have_trained_of_a_countable_space_is_not_waited_for() -> None:
    space = {"shift": Range(low=0, high=3), "label_smoothing": Range(low=0.1, high=0.1)}
    study = Study(name="x", title="x", search=SearchDefinition(space=space))
    plan = plan_search(study, base={"data": "digits", "epochs": 1}, samples=99, fingerprint="f", trials=())
    configs = [plan.search.config({"shift": shift, "label_smoothing": 0.1}) for shift in range(4)]
    calibrated = [
        trial(f"config {config.shift}", {}, config, key=config.key("f"), seeds=(0,),
              histories={"val_error": [(1, 0.5)]},
              tags={"study": "x-calibration", "data_fingerprint": "f", "outcome": "complete"})
        for config in configs[:3]
    ]  # fmt: skip
    known = plan.with_trials(calibrated)
    assert known.to_run == 1
    searcher = TrialSearch(known, TrialContext("f", None, "nowhere"))
    assert spec_of(searcher.suggest("last") or {}).config == configs[3]
    assert searcher.suggest("none") == "FINISHED"
    failed = trial("failed", {}, configs[3], key=configs[3].key("f"), seeds=(0,), status="FAILED",
                   tags={"study": "x", "table": "x", "data_fingerprint": "f"})  # fmt: skip
    tried = plan.with_trials([*calibrated, failed])
    assert (tried.to_run, tried.unfinished) == (1, [failed]), "an earlier sweep gave it up"
    given_up = replace(tried, given_up={failed.key})
    assert (given_up.to_run, given_up.unfinished) == (0, []), "the next sweep tries again what this one gave up"


def test_a_definition_that_is_changed_is_checked_again() -> None:
    definition = SearchDefinition(space={"lr": Range(low=0.01, high=1.0)})
    with pytest.raises(ValueError, match="start: learning_rate is not in the space"):
        definition.change(start=(StartPoint(values={"learning_rate": 0.1}),))


@pytest.mark.parametrize("log", [False, True])
def test_whole_bounds_search_every_number_where_the_field_is_a_float(log: bool) -> None:
    space = {
        "lr": Range(low=1, high=3, log=log),
        "shift": Range(low=1, high=3),
    }
    study = Study(name="x", title="x", search=SearchDefinition(space=space))
    resolved = resolve_search(study, base={}, samples=1, fingerprint="f")
    drawn = sample(study.required_search.space, 20, seed=0)
    assert len({values["lr"] for values in drawn}) == 20, "not only 1, 2 and 3"
    assert all(1 <= values["lr"] <= 3 for values in drawn)
    assert {values["shift"] for values in drawn} == {1, 2, 3}, "its field is whole"
    assert all(resolved.contains(resolved.config(values)) for values in drawn)
    assert resolved.points() is None, "nobody can count them"
    assert ResolvedSearch.model_validate_json(resolved.model_dump_json()) == resolved


def test_a_range_of_whole_numbers_contains_no_others() -> None:
    shift = Range(low=0, high=4)
    assert [value for value in (0, 2.0, 2.5, 4, 5, True, "2") if shift.contains(value)] == [0, 2.0, 4]
    assert Range(low=0.0, high=4.0).contains(2.5)


def test_a_range_may_have_steps() -> None:
    heads = Range(low=8, high=32, step=8)
    drawn = {values["batch_size"] for values in sample({"batch_size": heads}, 40, seed=0)}
    assert drawn == set(heads.values or ()) == {8, 16, 24, 32} and str(heads) == "8 to 32, in steps of 8"
    assert heads.contains(24) and not heads.contains(20)
    for bad in ({"low": 8, "high": 30}, {"low": 8, "high": 32, "log": True}, {"low": 0.5, "high": 16.5}):
        with pytest.raises(ValidationError, match="step 8 must lead from low"):
            Range(**bad, step=8)
    with pytest.raises(ValidationError, match="lr: step 2 is for whole numbers alone; name choices"):
        SearchDefinition(space={"lr": Range(low=1, high=3, step=2)})


def test_choices_differ() -> None:
    """A choice that stands twice would count as two configs."""
    with pytest.raises(ValidationError, match="choices 128, 256, 128 must differ from each other"):
        Choice(choices=(128, 256, 128))


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        (SearchDefinition(space={"lr": Range(low=0.01, high=1.0)}, start=(StartPoint(),)),
         r"start point 1 of its search: lr 0\.001 is not in the space \(0\.01 to 1\)"),
        (SearchDefinition(space={"optimizer": Choice(choices=("sgd", "adamw"))}, start=(StartPoint(),)),
         r"start point 1 of its search: optimizer adam is not in the space \(sgd, adamw\)"),
        (SearchDefinition(space={"lr": Range(low=0.01, high=1.0)}, scheduler=Scheduler(grace=5)),
         "its scheduler: grace 5 is above the 2 epochs"),
        (SearchDefinition(space={"batch_norm": Choice(choices=(False, True)),
                                 "bn_momentum": Range(low=0.01, high=0.1)}),
         "bn_momentum: 0.01 has no effect here"),
        (SearchDefinition(space={"optimizer": Choice(choices=("adamw", "momentum")),
                                 "nesterov": Choice(choices=(True, False))}),
         "nesterov: true has no effect here"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_before_anything_starts(definition: SearchDefinition, problem: str) -> None:
    study = Study(name="x", title="x", search=definition)
    with pytest.raises(UsageError, match=problem):
        plan_search(study, base={"epochs": 2}, samples=1, fingerprint="f", trials=())


def test_a_search_may_train_for_a_multiple_of_the_sweeps_epochs() -> None:
    longer = STUDY.search.model_copy(update={"epochs_factor": 5})
    plan = plan_search(
        STUDY.model_copy(update={"search": longer}), base={"data": "digits", "epochs": 4}, samples=1, fingerprint="f",
        trials=(),
    )  # fmt: skip
    assert plan.search.base.epochs == 20
    assert plan.search.rungs == (5, 15)
