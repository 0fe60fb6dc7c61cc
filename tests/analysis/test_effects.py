"""The effects of the ablations and their tests, against hand-made cases and SciPy."""

from pathlib import Path

import pytest
from scipy import stats

from analysis.record.replicates import replicates
from analysis.statistics.effects import holm, paired_effects
from tests.analysis_records import Recorded, page_of, resolved_row, sweep, table, trial
from trainable.config import Config


def test_effects_are_paired_and_agree_with_scipy() -> None:
    base, hinge = [0.30, 0.32, 0.31, 0.29], [0.33, 0.34, 0.35, 0.30]
    trainings = replicates([
        trial("baseline", {seed: [0.9, error] for seed, error in enumerate([*base, 0.5])}, Config()),
        trial("hinge", {seed: [0.2, error] for seed, error in enumerate(hinge)}, Config(loss="hinge")),
    ])  # fmt: skip
    (effect,) = paired_effects([table()], trainings)
    expected = stats.ttest_rel(hinge, base)
    assert effect.differences == pytest.approx([h - b for h, b in zip(hinge, base, strict=True)])
    assert effect.t_p == pytest.approx(expected.pvalue)
    assert effect.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert effect.wilcoxon_p == pytest.approx(stats.wilcoxon(hinge, base).pvalue)
    assert effect.t_holm == effect.t_p, "one test needs no correction"


def test_a_table_is_compared_with_its_own_reference() -> None:
    """The report's penalties were trained with the hinge loss: their effect is against hinge."""
    hinge, penalty = Config(loss="hinge"), Config(loss="hinge", weight_decay=0.01)
    trainings = replicates([
        trial("baseline", {0: [0.30], 1: [0.31]}, Config()),
        trial("hinge", {0: [0.40], 1: [0.42]}, hinge),
        trial("penalty", {0: [0.45], 1: [0.44]}, penalty),
    ])  # fmt: skip
    rows = tuple(resolved_row(n, c) for n, c in (("0", Config()), ("0.01", penalty)))
    penalties = table().model_copy(
        update={"number": "4", "slug": "penalty", "rows": rows, "reference": hinge.key("abc")}
    )
    by_name = {effect.name: effect for effect in paired_effects([table(), penalties], trainings)}
    assert by_name.keys() == {"loss: hinge (table 3)", "loss: 0.01 (table 4)"}
    assert by_name["loss: hinge (table 3)"].against == "baseline"
    effect = by_name["loss: 0.01 (table 4)"]
    assert effect.against == "loss: hinge (table 3)"
    assert effect.differences == pytest.approx((0.05, 0.02))


def test_a_config_is_compared_with_every_reference_that_a_table_gives_it() -> None:
    """Of a reference that no table has as a row, its changes are said."""
    hinge, faster = Config(loss="hinge"), Config(lr=0.002)
    both = hinge.change(lr=0.002)
    trainings = replicates([
        trial(str(error), {0: [error], 1: [error + 0.01]}, config)
        for error, config in ((0.30, Config()), (0.40, hinge), (0.31, faster), (0.45, both))
    ])  # fmt: skip
    row = resolved_row("both", both)
    tables = [
        table().model_copy(update={"number": number, "rows": (row,), "reference": reference.key("abc")})
        for number, reference in (("61", hinge), ("90", faster), ("91", faster))
    ]
    found = {effect.reference: effect for effect in paired_effects(tables, trainings)}
    assert [(each.name, each.against, round(each.mean, 2)) for each in found.values()] == [
        ("loss: both (table 61)", "loss hinge", 0.05),
        ("loss: both (table 90)", "lr 0.002", 0.14),
    ]
    assert len(paired_effects(tables, trainings)) == 2, "the third table asks nothing new"


def test_a_baseline_in_another_precision_is_an_effect() -> None:
    bf16 = Config(precision="bf16")
    trainings = replicates([trial("fp32", {0: [0.30]}, Config()), trial("bf16", {0: [0.31]}, bf16)])
    rows = tuple(resolved_row(c.precision, c) for c in (Config(), bf16))
    precisions = table().model_copy(update={"number": "60", "slug": "precision", "rows": rows})
    (effect,) = paired_effects([precisions], trainings)
    assert (effect.name, effect.against) == ("bf16", "baseline")
    assert effect.mean == pytest.approx(0.01)


def test_a_row_that_somebody_names_baseline_has_an_effect() -> None:
    faster = Config(lr=0.01)
    trainings = replicates([trial("a", {0: [0.30]}, Config()), trial("b", {0: [0.31]}, faster)])
    rows = tuple(resolved_row(n, c) for n, c in (("0.001", Config()), ("baseline", faster)))
    (effect,) = paired_effects([table().model_copy(update={"rows": rows})], trainings)
    assert (effect.name, effect.config) == ("baseline", faster)


def test_rows_that_are_judged_on_other_images_than_their_reference_are_not_compared() -> None:
    held_out = Config(protocol="B")
    validated = trial("b", {}, held_out, seeds=(0,), histories={"val_error/seed_0": [(1, 0.3)]})
    trainings = replicates([trial("a", {0: [0.30]}, Config()), validated])
    rows = tuple(resolved_row(c.protocol, c) for c in (Config(), held_out))
    assert paired_effects([table().model_copy(update={"rows": rows})], trainings) == []


def test_seeds_that_all_differ_by_the_same_are_no_certainty() -> None:
    """Three times the same number of images more: a t-test would take rounding for its spread."""
    base, other = ({seed: [(k + more) / 359] for seed, k in enumerate((7, 11, 20))} for more in (0, 3))
    trainings = replicates([trial("b", base, Config()), trial("h", other, Config(loss="hinge"))])
    (effect,) = paired_effects([table()], trainings)
    assert (effect.interval, effect.t_p, effect.t_holm) == (None, None, None)


def test_a_seed_that_was_trained_again_counts_once_as_it_was_first() -> None:
    first, again = (trial(name, {0: [0.5, error]}, Config()) for name, error in (("first", 0.30), ("again", 0.31)))
    (training,) = replicates([first, again]).values()
    assert training.by_seed("test_error") == {0: [(1, 0.5), (2, 0.30)]}


def test_one_seed_has_an_effect_but_no_test() -> None:
    trainings = replicates([trial("b", {0: [0.3]}, Config()), trial("h", {0: [0.4]}, Config(loss="hinge"))])
    (effect,) = paired_effects([table()], trainings)
    assert effect.mean == pytest.approx(0.1)
    assert (effect.interval, effect.t_p, effect.t_holm) == (None, None, None)


def test_the_tests_of_a_study_are_corrected_for_its_own_number() -> None:
    """What else is recorded does not change a study's p values."""
    errors = {"baseline": [0.30, 0.32, 0.31], "hinge": [0.33, 0.34, 0.36], "lr": [0.41, 0.45, 0.40]}
    configs = {"baseline": Config(), "hinge": Config(loss="hinge"), "lr": Config(lr=0.5)}
    trainings = replicates(
        [trial(name, {s: [e] for s, e in enumerate(errors[name])}, configs[name]) for name in errors]
    )
    row = resolved_row("0.5", configs["lr"])
    rates = table().model_copy(update={"study": "rates", "number": "9", "slug": "rates", "rows": (row,)})
    apart = {effect.name: effect for effect in paired_effects([table(), rates], trainings)}
    assert all(effect.t_holm == effect.t_p for effect in apart.values())
    together = paired_effects([table(), rates.model_copy(update={"study": "tables"})], trainings)
    assert [effect.t_holm for effect in together] == holm([effect.t_p for effect in together])
    assert together[1].t_holm == 2 * together[1].t_p
    assert [effect.equivalence_holm for effect in together] == holm([effect.equivalence_p for effect in together])
    assert [effect.wilcoxon_holm for effect in together] == holm([effect.wilcoxon_p for effect in together])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None, 0.005]) == pytest.approx([0.03, 0.06, 0.06, None, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_the_report_says_which_verdicts_hang_on_the_correction_within_a_study(tmp_path: Path) -> None:
    effects = {"hinge": [0.010, 0.012, 0.0185], "tanh": [0.001, 0.002, 0.0018]}
    p_values = {name: stats.ttest_1samp(differences, 0).pvalue for name, differences in effects.items()}
    assert p_values["hinge"] < 0.05 < 2 * p_values["hinge"] and p_values["tanh"] < 0.05
    configs = {"hinge": Config(loss="hinge"), "tanh": Config(activation="tanh")}
    base = {0: [0.30], 1: [0.31], 2: [0.32]}
    changed = {
        name: {seed: [base[seed][0] + difference] for seed, difference in enumerate(differences)}
        for name, differences in effects.items()
    }
    trials = [trial("baseline", base, Config()), *(trial(name, changed[name], configs[name]) for name in effects)]
    tables = [
        table().model_copy(
            update={
                "study": name, "number": str(number), "slug": name,
                "rows": (resolved_row(name, config),),
            }
        )
        for number, (name, config) in enumerate(configs.items(), start=70)
    ]  # fmt: skip
    together = "With Holm's correction over the changes of all studies together, "
    page = page_of(tmp_path, Recorded(trials, sweep(*tables)))
    assert f"{together}these would no longer be found to change the error: " in page
    assert together not in page_of(tmp_path, Recorded(trials, sweep(tables[0]))), "one study is its own family"
