"""The report's statistics and its pictures of a search, against hand-made cases and SciPy."""

from pathlib import Path

import pytest
from analysis.asha import rungs
from scipy import stats
from sweeps.search import make_search
from sweeps.suggest import make_scheduler

from analysis.effects import effects, holm
from analysis.parameters import draw_importances, draw_parallel, draw_slices, varied, weighable
from analysis.replicates import replicates
from analysis.searching import base_of, draw_best_so_far, draw_learning_curves, summary_of
from tests.test_analysis import table, trial
from trainable.config import Config
from trainable.study import ResolvedRow


def test_effects_are_paired_and_agree_with_scipy() -> None:
    base, hinge = [0.30, 0.32, 0.31, 0.29], [0.33, 0.34, 0.35, 0.30]
    found = replicates([
        trial("baseline", {seed: [0.9, error] for seed, error in enumerate([*base, 0.5])}, Config()),
        trial("hinge", {seed: [0.2, error] for seed, error in enumerate(hinge)}, Config(loss="hinge")),
    ])  # fmt: skip
    (effect,) = effects([table()], found)
    expected = stats.ttest_rel(hinge, base)
    assert effect.differences == pytest.approx([h - b for h, b in zip(hinge, base, strict=True)])
    assert effect.t_p == pytest.approx(expected.pvalue)
    assert effect.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert effect.wilcoxon_p == pytest.approx(stats.wilcoxon(hinge, base).pvalue)
    assert effect.t_holm == effect.t_p, "one test needs no correction"


def test_a_table_is_compared_with_its_own_reference() -> None:
    """The report's penalties were trained with the hinge loss: their effect is against hinge."""
    hinge, penalty = Config(loss="hinge"), Config(loss="hinge", weight_decay=0.01)
    found = replicates([
        trial("baseline", {0: [0.30], 1: [0.31]}, Config()),
        trial("hinge", {0: [0.40], 1: [0.42]}, hinge),
        trial("penalty", {0: [0.45], 1: [0.44]}, penalty),
    ])  # fmt: skip
    rows = tuple(ResolvedRow(name=n, key=c.key("abc"), config=c) for n, c in (("0", Config()), ("0.01", penalty)))
    penalties = table().model_copy(
        update={"number": "4", "slug": "penalty", "rows": rows, "reference": hinge.key("abc")}
    )
    by_name = {effect.name: effect for effect in effects([table(), penalties], found)}
    assert by_name.keys() == {"loss: hinge", "penalty: 0.01"}
    assert (by_name["loss: hinge"].against, by_name["penalty: 0.01"].against) == ("baseline", "loss: hinge")
    assert by_name["penalty: 0.01"].differences == pytest.approx((0.05, 0.02))


def test_seeds_that_all_differ_by_the_same_are_no_certainty() -> None:
    """Three times the same number of images more: a t-test would take rounding for its spread."""
    base, other = ({seed: [(k + more) / 359] for seed, k in enumerate((7, 11, 20))} for more in (0, 3))
    found = replicates([trial("b", base, Config()), trial("h", other, Config(loss="hinge"))])
    (effect,) = effects([table()], found)
    assert (effect.interval, effect.t_p, effect.t_holm) == (None, None, None)


def test_a_seed_that_was_trained_again_counts_once_as_it_was_first() -> None:
    first, again = (trial(name, {0: [0.5, error]}, Config()) for name, error in (("first", 0.30), ("again", 0.31)))
    (found,) = replicates([first, again]).values()
    assert found.by_seed("test_error") == {0: [(1, 0.5), (2, 0.30)]}


def test_one_seed_has_an_effect_but_no_test() -> None:
    found = replicates([trial("b", {0: [0.3]}, Config()), trial("h", {0: [0.4]}, Config(loss="hinge"))])
    (effect,) = effects([table()], found)
    assert effect.mean == pytest.approx(0.1)
    assert (effect.interval, effect.t_p, effect.t_holm) == (None, None, None)


def test_the_tests_of_a_study_are_corrected_for_its_own_number() -> None:
    """What else is recorded does not change a study's p values."""
    errors = {"baseline": [0.30, 0.32, 0.31], "hinge": [0.33, 0.34, 0.36], "lr": [0.41, 0.45, 0.40]}
    configs = {"baseline": Config(), "hinge": Config(loss="hinge"), "lr": Config(lr=0.5)}
    found = replicates([trial(name, {s: [e] for s, e in enumerate(errors[name])}, configs[name]) for name in errors])
    row = ResolvedRow(name="0.5", key=configs["lr"].key("abc"), config=configs["lr"])
    rates = table().model_copy(update={"study": "rates", "number": "9", "slug": "rates", "rows": (row,)})
    apart = {effect.name: effect for effect in effects([table(), rates], found)}
    assert all(effect.t_holm == effect.t_p for effect in apart.values())
    together = effects([table(), rates.model_copy(update={"study": "tables"})], found)
    assert [effect.t_holm for effect in together] == holm([effect.t_p for effect in together])
    assert together[1].t_holm == 2 * together[1].t_p


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None, 0.005]) == pytest.approx([0.03, 0.06, 0.06, None, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize("epochs", [1, 2, 9, 20, 100])
def test_the_rungs_that_are_drawn_are_the_schedulers(epochs: int) -> None:
    scheduler = make_scheduler(make_search({"epochs": epochs}, 4, [], "f"))
    milestones = sorted(milestone for milestone, _ in scheduler._brackets[0]._rungs)
    assert [milestone for milestone in milestones if milestone < epochs] == [r for r in rungs(epochs) if r < epochs]


def test_a_search_is_drawn_with_what_it_varied(tmp_path: Path) -> None:
    trials = []
    for place, (rate, optimizer, errors) in enumerate(
        [(1e-4, "adam", [0.5, 0.4]), (1e-2, "adamw", [0.6]), (1e-3, "adamw", [0.4, 0.2]), (2e-3, "adam", [0.4, 0.3])]
    ):
        config = Config(data="digits", protocol="B", batch_norm=True, epochs=2, lr=rate, optimizer=optimizer)
        tags = {"outcome": "complete" if len(errors) == 2 else "stopped", "study": "search"}
        metrics = {"val_error": list(enumerate(errors, 1)), "epoch_s": [(e, 2.0) for e in range(1, len(errors) + 1)]}
        trials.append(trial(f"search-{place}", {0: errors}, config, tags=tags, metrics=metrics))
    assert set(varied(trials)) == {"lr", "optimizer"}
    curves = draw_learning_curves(trials, tmp_path / "curves.png").with_suffix(".csv").read_text()
    assert "search-1,1,0.6,False" in curves
    best = draw_best_so_far(trials, tmp_path / "best.png").with_suffix(".csv").read_text().splitlines()
    assert best[1:] == ["search-0,4,0.4", "search-2,10,0.2", "search-3,14,0.2"]
    slices = draw_slices(trials, summary_of(trials), tmp_path / "slices.png").with_suffix(".csv").read_text()
    assert "search-1,False,0.6,adamw,0.01" in slices, "a trial that ASHA stopped is shown where it stopped"
    shares = draw_importances(trials, 1, "4 trials", tmp_path / "importance.png").with_suffix(".csv").read_text()
    assert sum(float(line.split(",")[1]) for line in shares.splitlines()[1:]) == pytest.approx(1)
    parallel = draw_parallel(trials, 1, "4 trials", tmp_path / "parallel.png")
    assert parallel.stat().st_size > 5000
    assert "search-1,0.6," in parallel.with_suffix(".csv").read_text(), "a stopped trial counts as it was there"
    assert (weighable(trials, 1), weighable([*trials, trials[1]], 1)) == (False, True)
    assert not weighable(trials[:1] * 5, 1), "equal trials weigh nothing"
    assert len({base_of(each) for each in trials}) == 1
    assert base_of(trial("longer", {}, trials[0].config.change(epochs=9))) != base_of(trials[0])
