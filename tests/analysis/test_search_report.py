"""The report of a search: its definition, its trials and its pictures, from hand-made trials."""

from dataclasses import replace
from pathlib import Path

import pytest
from ray.tune.schedulers import ASHAScheduler

from analysis.importance import FirstRung, can_weigh_parameters
from analysis.plots.search_parameters import draw_importances, draw_parallel, draw_slices
from analysis.plots.search_progress import draw_best_so_far, draw_learning_curves
from analysis.record.recorded import TrialRecord
from analysis.searches import RecordedSearch, recorded_searches
from tests.analysis_records import Recorded, page_of, search, search_trial, sweep, trial
from trainable.resolved_search import ResolvedSearch
from trainable.search_definition import Race, Scheduler
from trainable.search_space import Choice, Range

SPACE: dict[str, Choice | Range] = {
    "optimizer": Choice(choices=("adam", "adamw")),
    "lr": Range(low=1e-5, high=1e-1, log=True),
    "dropout": Range(low=0.0, high=0.3),
}


def recorded(*trials: TrialRecord) -> RecordedSearch:
    """The trials of a search, two epochs each."""
    return RecordedSearch(search(SPACE), trials, left_out=0)


def trials_of(definition: ResolvedSearch) -> list[TrialRecord]:
    """Trials that differ in the learning rate and the optimizer. ASHA stopped the second after its first epoch."""
    values = [
        (1e-4, "adam", [0.5, 0.4]),
        (1e-2, "adamw", [0.6]),
        (1e-3, "adamw", [0.4, 0.2]),
        (2e-3, "adam", [0.4, 0.3]),
    ]
    return [
        search_trial(f"search-{number}", definition, {"lr": rate, "optimizer": optimizer}, errors)
        for number, (rate, optimizer, errors) in enumerate(values)
    ]


@pytest.mark.parametrize("epochs", [1, 2, 9, 20, 100])
@pytest.mark.parametrize("asha", [Scheduler(), Scheduler(share=0.9), Scheduler(reduction=4, grace=2)])
def test_the_rungs_that_are_drawn_are_the_schedulers(epochs: int, asha: Scheduler) -> None:
    rungs = search(SPACE, epochs=epochs, scheduler=asha).rungs
    scheduler = ASHAScheduler(
        time_attr="epoch", metric="val_error", mode="min", max_t=max(epochs, rungs[0]), grace_period=rungs[0],
        reduction_factor=asha.reduction,
    )  # fmt: skip
    milestones = sorted(milestone for milestone, _ in scheduler._brackets[0]._rungs)
    assert [milestone for milestone in milestones if milestone < epochs] == [rung for rung in rungs if rung < epochs]


def test_a_search_is_drawn_with_what_it_varied(tmp_path: Path) -> None:
    definition = search(SPACE)
    trials = trials_of(definition)
    four = recorded(*trials)
    assert set(four.varied) == {"lr", "optimizer"}, "dropout is in the space, but no trial differs in it"
    curves = draw_learning_curves(four, tmp_path / "curves.png").with_suffix(".csv").read_text()
    assert "search-1,1,0.6,False" in curves
    best = draw_best_so_far(four, tmp_path / "best.png").with_suffix(".csv").read_text().splitlines()
    assert best[1:] == ["search-0,4,0.4", "search-2,10,0.2", "search-3,14,0.2"]
    slices = draw_slices(four, tmp_path / "slices.png").with_suffix(".csv").read_text()
    assert "search-1,False,0.6,adamw,0.01" in slices, "a trial that ASHA stopped is shown where it stopped"
    shares = draw_importances(FirstRung(four), tmp_path / "importance.png").with_suffix(".csv").read_text()
    assert sum(float(line.split(",")[1]) for line in shares.splitlines()[1:]) == pytest.approx(1)
    parallel = draw_parallel(FirstRung(four), tmp_path / "parallel.png")
    assert parallel.stat().st_size > 5000
    assert "search-1,0.6," in parallel.with_suffix(".csv").read_text(), "a stopped trial counts as it was there"
    assert not can_weigh_parameters(four)
    assert can_weigh_parameters(recorded(*trials * 4))
    assert not can_weigh_parameters(recorded(*trials[:1] * 16)), "equal trials weigh nothing"


def test_the_lines_of_all_trials_cross_only_axes_that_every_trial_has(tmp_path: Path) -> None:
    definition = search(SPACE | {"dropout": Range(low=0.0, high=0.3, when={"optimizer": ("adam",)})})
    values = [{"lr": 1e-4, "optimizer": "adam", "dropout": 0.1}, {"lr": 1e-2, "optimizer": "adamw"},
              {"lr": 1e-3, "optimizer": "adam", "dropout": 0.2}]  # fmt: skip
    trials = [search_trial(f"search-{n}", definition, each, [0.4 - n / 10, 0.3]) for n, each in enumerate(values)]
    conditional = RecordedSearch(definition, tuple(trials), left_out=0)
    assert "dropout" in conditional.varied
    header, *_ = (
        draw_parallel(FirstRung(conditional), tmp_path / "parallel.png").with_suffix(".csv").read_text().splitlines()
    )
    assert sorted(header.split(",")[2:]) == ["lr", "optimizer"]


def test_the_definition_with_the_most_trials_counts_and_says_which_are_its_own() -> None:
    earlier, latest = search(SPACE), search(SPACE, epochs=9)
    trials = trials_of(earlier)
    longer = [search_trial(f"longer-{n}", latest, {"lr": 0.01 / (n + 1)}, [0.3]) for n in range(len(trials))]
    elsewhere = search_trial("elsewhere", latest, {"lr": 0.02}, [0.3], data_fingerprint="other")
    of_tables = search_trial("row", latest, {"lr": 0.02}, [0.3], study="tables")
    of_its_tables = search_trial("row of its study", latest, {"lr": 0.02}, [0.3], table="50")
    sweeps = [sweep(searches=(earlier,)), sweep(searches=(latest,))]
    (only,) = recorded_searches(sweeps, [*trials, longer[0], elsewhere, of_tables, of_its_tables])
    assert only.search == earlier, "a short try does not hide a finished search"
    assert (list(only.own), only.left_out) == (trials, 2)
    (only,) = recorded_searches(sweeps, [*trials, *longer])
    assert only.search == latest, "of equals the latest counts"
    assert (list(only.own), only.left_out) == (longer, len(trials))


def test_a_parameter_that_somebody_adds_to_the_space_keeps_all_trials(tmp_path: Path) -> None:
    definition = search({**SPACE, "activation": Choice(choices=("relu", "tanh")), "shift": Range(low=0, high=4)})
    trials = [
        search_trial(f"search-{number}", definition, {"activation": name, "lr": rate}, errors)
        for number, (name, rate, errors) in enumerate(
            [("relu", 1e-3, [0.5, 0.4]), ("tanh", 1e-3, [0.6]), ("tanh", 1e-2, [0.4, 0.3])]
        )
    ]
    page = page_of(tmp_path, Recorded(trials, sweep(searches=(definition,))))
    assert "| trials | 3: 2 ran to their last epoch, 1 stopped by ASHA |" in page
    assert "| activation | relu, tanh | relu, tanh | tanh |" in page
    assert "| lr | 1e-05 to 0.1, logarithmic | 0.001 to 0.01 | 0.01 |" in page
    assert "| shift | 0 to 4 | 0 to 0 | 0 |" in page
    assert (tmp_path / "search-slices.csv").read_text().splitlines()[0] == "trial,complete,val_error,lr,activation"


def test_the_page_prints_the_definition_of_a_search(tmp_path: Path) -> None:
    starts = [{"values": {"lr": 1e-3}, "source": "a paper", "reference": True}, {}]
    definition = search(SPACE, epochs=20, start=starts, seeds=(0, 1))
    page = page_of(tmp_path, Recorded([], sweep(searches=(definition,))))
    for line in (
        "| fixed | data digits, protocol B, batch_norm true, epochs 20, precision fp32; else as the baseline |",
        "| start points | 2 |",
        "| start point | source |\n|---|---|\n| lr 0.001 | a paper |\n| the baseline's values | - |",
        "| sampler | a sampler |",
        "| scheduler | ASHA: after epochs 5, 15 of 20 a trial goes on if it is among the best 1 in 3 of ",
        "| seeds | 0 to 1 |",
        "| optimizer | adam, adamw | - | - |",
        "Missing: no trial of this search is recorded.",
    ):
        assert line in page, line


def test_the_page_says_where_the_configurations_of_a_search_come_from(tmp_path: Path) -> None:
    earlier = search(SPACE, samples=30, start=[{"values": {"lr": 1e-4, "optimizer": "adam"}}])
    latest = search(SPACE, samples=20, start=[{"values": {"lr": 1e-2, "optimizer": "adamw"}}])
    longer = search(SPACE, study="longer", epochs=3)
    before, since = (
        replace(search_trial(name, longer, {"lr": rate, "optimizer": optimizer}, [0.3, 0.3, 0.3]), start_time=time)
        for name, rate, optimizer, time in (("before", 1e-3, "adamw", 1), ("since", 2e-3, "adam", 9))
    )
    before = replace(before, metrics=before.metrics | {"winner_test_error": 0.25})
    trials = [replace(each, start_time=5) for each in trials_of(latest)]
    record = Recorded([before, *trials, since], *(sweep(searches=(each,)) for each in (earlier, latest)))
    page = page_of(tmp_path, record)
    for line in (
        "| trials asked for | 20 (an earlier sweep asked for 30) |",
        "| their configurations | 2 start points of this or an earlier definition, 1 of the best of trainings for "
        "other numbers of epochs, 1 suggested by the sampler |",
        "| test errors of other winners, which may have been known when this search went on | before 0.2500 |",
        "The test errors of 1 other winner may have been known while this search went on, so that the winner's own",
    ):
        assert line in page, line


def test_a_training_by_another_protocol_is_not_where_a_search_has_its_configs_from(tmp_path: Path) -> None:
    """A search starts from trainings of its own protocol alone."""
    definition = search(SPACE)
    own = search_trial("search-0", definition, {"lr": 1e-3, "optimizer": "adam"}, [0.4, 0.2])
    table_trial = trial("table-row", {0: [0.3]}, own.config.change(epochs=1, protocol="A"))
    record = Recorded([table_trial, replace(own, start_time=5)], sweep(searches=(definition,)))
    assert "0 start points of this or an earlier definition, 1 suggested by the sampler" in page_of(tmp_path, record)


def test_a_winner_that_is_not_the_lowest_is_not_called_the_best_of_many(tmp_path: Path) -> None:
    definition = search(SPACE, race=Race(candidates=2, seeds=2, first_test=2))
    lowest, other = (
        search_trial(name, definition, {"lr": rate, "optimizer": "adam"}, [0.4, error])
        for name, rate, error in (("lowest", 1e-3, 0.20), ("other", 2e-3, 0.21))
    )
    raced = [
        replace(search_trial(f"{name}-{seed}", definition, {"lr": rate, "optimizer": "adam"}, [0.4, error]),
                seeds=(seed,), histories={}, metrics={f"per_seed/val_error_{seed}": error, "val_error": error})
        for seed in (1, 2) for name, rate, error in (("lowest", 1e-3, 0.30), ("other", 2e-3, 0.22 + seed / 100))
    ]  # fmt: skip
    page = page_of(tmp_path, Recorded([lowest, other, *raced], sweep(searches=(definition,))))
    assert "The winner has a validation error of 0.2100 (the lowest is 0.2000, of lowest, which did not win" in page


def test_several_searches_are_a_subsection_each(tmp_path: Path) -> None:
    one, other = search(SPACE), search(SPACE, study="wide", title="Another search", epochs=3)
    trials = [search_trial("w-1", other, {"lr": 0.01}, [0.3, 0.2, 0.1]), *trials_of(one)]
    page = page_of(tmp_path, Recorded(trials, sweep(searches=(one, other))))
    assert "### A search" in page and "### Another search" in page
    assert "(search-curves.png)" in page and "(wide-curves.png)" in page


def test_trials_of_a_search_without_a_definition_are_named_as_missing(tmp_path: Path) -> None:
    trials = trials_of(search(SPACE))
    page = page_of(tmp_path, Recorded(trials, sweep()))
    assert "Missing: the definition of the search in the study `search`, of which 4 trials are recorded." in page


def test_a_trial_outside_the_space_is_left_out() -> None:
    """An earlier definition of the same search may have had a wider space."""
    definition = search(SPACE)
    trials = [search_trial(f"t-{rate}", definition, {"lr": rate}, [0.4, 0.3]) for rate in (0.5, 1e-3, 1e-2)]
    (only,) = recorded_searches([sweep(searches=(definition,))], trials)
    assert [trial.name for trial in only.own] == ["t-0.001", "t-0.01"]
    assert only.left_out == 1
