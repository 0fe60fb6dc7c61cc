"""What the report says first: its claims, its verdicts and "In short"."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis import report
from analysis.report_data import ReportData
from tests.analysis_records import TAGS, Recorded, page_of, resolved_row, search, search_trial, sweep, table, trial
from trainable.config import Config
from trainable.files import TRACES
from trainable.measures import PROBE
from trainable.search_space import Range


def test_the_page_begins_with_what_is_sure(tmp_path: Path) -> None:
    near, far = ({s: [e] for s, e in enumerate(errors)} for errors in ((0.31, 0.30, 0.34), (0.50, 0.51, 0.53)))
    trials = [trial("baseline", {0: [0.30], 1: [0.31], 2: [0.32]}, Config())]
    placed = {"hinge": (Config(loss="hinge"), far), "tanh": (Config(activation="tanh"), near)}
    rows = tuple(resolved_row(name, config) for name, (config, _) in placed.items())
    trials += [trial(name, errors, config) for name, (config, errors) in placed.items()]
    definition = search({"bn_momentum": Range(low=0.01, high=0.5, log=True)})
    best = search_trial("search-001", definition, {"bn_momentum": 0.2}, [0.30, 0.25])
    best = replace(best, metrics=best.metrics | {"winner_test_error": 0.27})
    with_rows = table().model_copy(update={"rows": (*table().rows[:1], *rows)})
    page = page_of(tmp_path, Recorded([*trials, best], sweep(with_rows, searches=(definition,))))
    short = page[page.index("## In short") : page.index("## The course report's claims")]
    assert "An unpublished course report trained a small convolutional network with one change at a time" in short
    assert "The tables of this page have 3 configurations, trained on cifar10 for 3 seeds each." in short
    assert "Of 1 printed test error, 1 lies where one more of our runs would. Outside: 0." in short
    assert (
        "Tested: 2 changes of the network or of its training. None lowers the error. 1 raises the error: hinge by "
        "0.2033. Undecided: 1. A test decides where p is below 0.05 after correction within each study."
    ) in short
    assert "**A search.** The winner has a test error of 0.2700. The search tried 1 configuration, 1 of" in short
    assert "Of these search-001 has the lowest validation error." in short
    assert short.count("(#") == 3, "each paragraph leads to its details"
    assert "Of 1 printed test errors 1 lie in the prediction interval" in page
    assert "Not tested in study" not in page
    assert "2 changes are compared with baseline, and share one variance with 4 degrees of freedom" in page
    assert "| its validation error | 0.2500, seed 0; optimistic, as the lowest of 1 |" in page
    assert "| its test error | 0.2700 |" in page
    assert "| best config | search-001: bn_momentum 0.2 |" in page


def test_what_is_not_reproduced_is_said_with_its_interval(tmp_path: Path) -> None:
    errors = {0: [0.400], 1: [0.402], 2: [0.404]}
    at_chance = {0: [0.5], 1: [0.6], 2: [0.9]}
    trials = [trial("baseline", errors, Config()), trial("hinge", at_chance, Config(loss="hinge"))]
    page = page_of(tmp_path, Recorded(trials, sweep(table())))
    half = stats.t.ppf(0.975, 2) * 0.002 * np.sqrt(1 + 1 / 3)
    assert (
        f"| table 3, cross-entropy | test | 0.4020 | {0.402 - half:.4f} to {0.402 + half:.4f} | 0.3016 | +0.1004 |"
    ) in page
    assert "In table 3, hinge, seed 2 learned nothing" in page
    assert "0 lie in the prediction interval, 1 do not, 1 cannot be judged" in page
    assert "So many are compatible with chance (p 0.050, rows" in page, "one of one judged"
    assert "@1 | 0.5000, 0.6000, 0.9000 @1 | 0.5000, 0.6000, 0.9000 |" in page


def test_a_change_is_reproduced_where_all_errors_are_shifted_alike(tmp_path: Path) -> None:
    """Both printed errors are 0.3016."""
    errors, hinge = {0: [0.400], 1: [0.402], 2: [0.404]}, {0: [0.400], 1: [0.403], 2: [0.404]}
    trials = [trial("baseline", errors, Config()), trial("hinge", hinge, Config(loss="hinge"))]
    page = page_of(tmp_path / "alike", Recorded(trials, sweep(table())))
    assert "Of 2 printed test errors 0 lie in the prediction interval, 2 do not" in page
    said = "Of 1 printed change of the test error, {} where that of one more pair of our runs would fall"
    assert page.count(said.format("1 lies")) == 2, "in short, and in its section"
    assert page.count("For 1 of them that range includes no change at all") == 2
    variances = (np.var([0.400, 0.402, 0.404], ddof=1), np.var([0.400, 0.403, 0.404], ddof=1))
    spread = sum(variances) * (1 + 1 / 3)
    half = stats.t.ppf(0.975, sum(variances) ** 2 / sum(each**2 / 2 for each in variances)) * np.sqrt(spread)
    ours = 0.001 / 3
    assert f"| table 3, hinge | +0.0000 | +0.0003 | {ours - half:+.4f} to {ours + half:+.4f} | yes |" in page
    trials[1] = trial("hinge", {0: [0.500], 1: [0.503], 2: [0.504]}, Config(loss="hinge"))
    page = page_of(tmp_path / "apart", Recorded(trials, sweep(table())))
    assert said.format("0 lie") in page and "no change at all" not in page


@pytest.mark.parametrize(("sign", "verdict"), [("-", "established"), ("+", "contradicted")])
def test_the_claims_stand_before_the_details_with_verdict_and_figure(sign: str, verdict: str, tmp_path: Path) -> None:
    errors = {0: [0.30], 1: [0.31], 2: [0.32]}
    changed = {seed: [error + float(f"{sign}1") * (0.05 + seed / 1000)] for seed, (error,) in errors.items()}
    trials = [trial("baseline", errors, Config()), trial("norm", changed, Config(batch_norm=True))]
    printed = table()
    rows = (*printed.rows[:1], resolved_row("yes", Config(batch_norm=True)))
    page = page_of(tmp_path, Recorded(trials, sweep(printed.model_copy(update={"rows": rows}))))
    assert page.index("## In short") < page.index("## The course report's claims") < page.index("## Contents")
    figure = rf"\{sign}0.0510 ± 0.0025 \(3 seeds, p <0.001\)"
    assert re.search(rf"\| Batch norm lowers .* \| {verdict} at a learning rate of 0.001 \| {figure} \|", page), page
    assert "| There is no serious over-fitting | contradicted | train error 0.1550 ±" in page


def test_the_summary_says_in_a_sentence_each_what_is_recorded(tmp_path: Path) -> None:
    record = Recorded(
        [trial("baseline", {0: [0.30]}, Config()), trial("norm", {0: [0.28]}, Config(batch_norm=True))],
        sweep(table().model_copy(update={"rows": (*table().rows[:1], resolved_row("yes", Config(batch_norm=True)))})),
    )
    page = page_of(tmp_path, record)
    short = page[page.index("## In short") : page.index("## The course report's claims")]
    assert (
        "At a learning rate of 0.001, batch norm lowers the test error by 0.0200 (1 seed), which is not tested."
        in short
    )
    assert "2 configurations, trained on cifar10 for 1 seed each." in short
    assert "None of 1 printed test error can be judged: that takes two seeds that learn." in short
    for left_out in ("mini-batch", "smooth", "search", "printed change"):
        assert left_out not in short, left_out


def test_the_summary_says_in_what_the_loss_is_smoother_and_in_what_rougher(tmp_path: Path) -> None:
    """A measure counts only where all seeds agree: with batch norm the largest beta-smoothness is twice as large with
    one seed, and nearly the same with the other. Each training is probed once, at two step sizes."""
    plain = [[1.0, 1.0, 1.0], [2.0, 2.0, 4.0]]
    normed = [[[1.0, 1.0, 8.0], [1.5, 4.0, 1.0]], [[1.0, 1.0, 3.9], [1.5, 4.0, 1.0]]]
    configs = {"plain, Adam 0.001": Config(epochs=1), "batch norm, Adam 0.001": Config(epochs=1, batch_norm=True)}
    tags = TAGS | {"probe_every": "50"}
    trials = [trial(name, {0: [0.3], 1: [0.3]}, config, tags=tags) for name, config in configs.items()]
    rows = tuple(resolved_row(name, config) for name, config in configs.items())
    record = Recorded(trials, sweep(table().model_copy(update={"rows": rows, "measure": PROBE, "reference": ""})))
    for each, probes in zip(trials, ([plain, plain], normed), strict=True):
        record.files[each.run_id, TRACES] = {
            **{f"probes/seed_{seed}": np.array([of_seed]) for seed, of_seed in enumerate(probes)},
            **{f"step_losses/seed_{seed}": np.ones(20) for seed in (0, 1)},
        }
    page = page_of(tmp_path, record)
    assert "A loss is called smoother by one of them where that is below 0.9 of the other network's with every" in page
    assert (
        "With Adam 0.001 (2 seeds), batch norm makes it smoother by the range of the loss (1 without it, 0.5 with it) "
        "and the beta-smoothness of the longest step (4 without it, 1 with it); rougher by the range of gradient "
        "predictiveness (1 without it, 3 with it); neither smoother nor rougher by "
        "the largest beta-smoothness (4 without it, 5.95 with it)."
    ) in page


def test_each_verdict_is_said_with_the_method_that_gave_it(tmp_path: Path) -> None:
    """Two rows share their variance with the baseline; a training of a third has learned, and ended at chance."""
    errors = {
        0.001: (0.300, 0.311, 0.306, 0.317), 0.01: (0.351, 0.364, 0.352, 0.369), 0.02: (0.299, 0.311, 0.303, 0.320),
        0.03: (0.45, 0.90, 0.44, 0.46),
    }  # fmt: skip
    trials = [trial(str(lr), {s: [0.7, e] for s, e in enumerate(row)}, Config(lr=lr)) for lr, row in errors.items()]
    rates = table().model_copy(
        update={"rows": tuple(resolved_row(str(lr), Config(lr=lr)) for lr in errors), "slug": "lr"}
    )
    page = page_of(tmp_path, Recorded(trials, sweep(rates)))
    assert "Tested: 2 changes of the network or of its training. None lowers the error. 1 raises the error: " in page
    assert "1 changes it by less than 0.01." in page
    assert "Not tested in study tables: 0.03, because a training ended at chance." in page
    assert "share one variance with 6 degrees of freedom: Cochran's test does not object" in page
    assert page.count("0.03: not tested, because a training ended at chance") == 1
    assert "Not tested, because a training ended at chance: 1." in page
    assert re.search(r"\| 0.02 \| [-+]0.000\d ± 0.0\d+ \| no effect beyond the margin \|", page)
    assert re.search(r"\| 0.03 \|.*\| a training ended at chance \|", page)
    numbers = (tmp_path / "effects.csv").read_text()
    for verdict in (",higher,3,6,", ",no effect beyond the margin,3,6,", ",a training ended at chance,,,"):
        assert verdict in numbers, "the verdict, the rows pooled, the freedom"

    report.write_report(ReportData(Recorded(trials, sweep(rates)), tmp_path, margin=0.001))
    assert re.search(r"\| 0.02 \|.*\| undecided \|", (tmp_path / "README.md").read_text()), "a smaller one decides less"
