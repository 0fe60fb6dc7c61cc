"""The report as a page: what it says, what it says is missing, and how it is written."""

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis import report, sections
from analysis.record.replicates import replicates
from analysis.report_data import ReportData
from analysis.tables import reproduce
from analysis.writing.page import Section, anchor_of
from tests.analysis_records import TAGS, Recorded, page_of, search, search_trial, sweep, table, trial
from trainable.config import Config
from trainable.files import TRACES
from trainable.measures import PROBE
from trainable.search_space import Range
from trainable.study import ResolvedRow


def test_what_is_missing_or_unfinished_is_missing(tmp_path: Path) -> None:
    unfinished = trial("hinge", {0: [0.1]}, Config(loss="hinge"), status="KILLED")
    (reproduced,) = reproduce([table()], replicates([trial("baseline", {0: [0.3]}, Config()), unfinished]))
    assert reproduced.rows[1].held_out is None
    page = page_of(tmp_path, Recorded([trial("baseline", {0: [0.3]}, Config()), unfinished], sweep(table())))
    for missing in ("no kernels of the baseline", "study `envelope`", "`smoothness`", "`surface`"):
        assert missing in page
    assert "| hinge | missing | missing | missing | - |" in page
    assert (tmp_path / "table-3.csv").read_text().splitlines()[1:] == [
        "cross-entropy,0,0.15,1,0.15,0.3,1,0.3,0.0586,0.3016",
        "hinge,,,,,,,,0.0586,0.3016",
    ]


def test_the_page_says_what_it_was_made_with_and_what_disagrees(tmp_path: Path) -> None:
    trials = [trial("baseline", {0: [0.30]}, Config()), trial("hinge", {0: [0.40]}, Config(loss="hinge"))]
    page = page_of(tmp_path, Recorded(trials, sweep(table())))
    for fact in ("fingerprint abc", "torch 2.15.0", "commit | c0ffee", "seeds 0"):
        assert fact in page
    assert (
        "| cross-entropy | 0.1500 @1 | 0.3000 @1 | 0.3000 | 0 | 0.0586 @19 | 0.3016 @8 | one seed, one seed |" in page
    )
    assert "Of 2 printed test errors 0 lie in the" in page and "2 cannot be judged" in page
    assert "not reproduced" not in page, "one seed says nothing"
    assert "JPEG" not in page


def test_the_page_begins_with_what_is_sure(tmp_path: Path) -> None:
    near, far = ({s: [e] for s, e in enumerate(errors)} for errors in ((0.31, 0.30, 0.34), (0.50, 0.51, 0.53)))
    trials = [trial("baseline", {0: [0.30], 1: [0.31], 2: [0.32]}, Config())]
    placed = {"hinge": (Config(loss="hinge"), far), "tanh": (Config(activation="tanh"), near)}
    rows = tuple(ResolvedRow(name=name, key=config.key("abc"), config=config) for name, (config, _) in placed.items())
    trials += [trial(name, errors, config) for name, (config, errors) in placed.items()]
    definition = search({"bn_momentum": Range(low=0.01, high=0.5, log=True)})
    best = search_trial("search-001", definition, {"bn_momentum": 0.2}, [0.30, 0.25])
    best = replace(best, metrics=best.metrics | {"winner_test_error": 0.27})
    with_rows = table().model_copy(update={"rows": (*table().rows[:1], *rows)})
    page = page_of(tmp_path, Recorded([*trials, best], sweep(with_rows, searches=(definition,))))
    short = page[page.index("## In short") : page.index("## The course report's claims")]
    assert "Of 1 printed test errors with ours beside them, 1 are reproduced" in short
    assert (
        "Of 2 tested changes to the network or its training, 1 (hinge) raises the error after the last epoch" in short
    )
    assert "none lower it, with p below 0.05 after correction within each study; undecided with 3 seeds: 1." in short
    assert "**A search.** The winner has a test error of 0.2700. The winner is search-001, the best of 1 conf" in short
    assert short.count("(#") == 3, "each paragraph leads to its details"
    assert "Of 1 printed test errors 1 lie in the prediction interval" in page
    least = f"{stats.t.isf(0.05 / 4, 4):.1f}"
    assert (
        "\nStudy tables: 2 of 2 changes are tested. To be called lower or higher, the change with the smallest p of 2 "
        f"must reach |t| = {least} where it has 4 degrees of freedom, the fewest here.\n"
    ) in page
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
    assert "In table 3, hinge, the training stayed at chance with seed 2" in page
    assert "0 lie in the prediction interval, 1 do not, 1 cannot be judged" in page
    assert "so many or more would lie outside with a probability of 0.050." in page, "one of one judged"
    assert "@1,1,1 | 0.5000, 0.6000, 0.9000 @1,1,1 | 0.5000, 0.6000, 0.9000 |" in page


def test_a_change_is_reproduced_where_all_errors_are_shifted_alike(tmp_path: Path) -> None:
    """Both printed errors are 0.3016."""
    errors, hinge = {0: [0.400], 1: [0.402], 2: [0.404]}, {0: [0.400], 1: [0.403], 2: [0.404]}
    trials = [trial("baseline", errors, Config()), trial("hinge", hinge, Config(loss="hinge"))]
    page = page_of(tmp_path / "alike", Recorded(trials, sweep(table())))
    assert "Of 2 printed test errors 0 lie in the prediction interval, 2 do not" in page
    assert page.count("Of 1 changes of the test error that the printed figures show, 1 are reproduced.") == 2
    trials[1] = trial("hinge", {0: [0.500], 1: [0.503], 2: [0.504]}, Config(loss="hinge"))
    page = page_of(tmp_path / "apart", Recorded(trials, sweep(table())))
    assert "Of 1 changes of the test error that the printed figures show, 0 are reproduced." in page


def test_protocol_b_shows_the_validation_error(tmp_path: Path) -> None:
    trials, rows = [], []
    for name, config in (("baseline", Config(protocol="B")), ("hinge", Config(protocol="B", loss="hinge"))):
        series = {f"{metric}/seed_0": [(1, 0.4), (2, 0.3)] for metric in ("train_error", "val_error")}
        trials.append(trial(name, {}, config, seeds=(0,), histories=series))
        rows.append(ResolvedRow(name=name, key=config.key("abc"), config=config))
    own = table().model_copy(update={"rows": tuple(rows), "reference": rows[0].key})
    page = page_of(tmp_path, Recorded(trials, sweep(own)))
    assert "|  | train error, minimum | validation error, minimum | validation error, last epoch | seeds |" in page
    assert "| hinge | 0.3000 @2 | 0.3000 @2 | 0.3000 | 0 |" in page


def test_errors_on_re_encoded_images_are_said_to_be_that(tmp_path: Path) -> None:
    errors = {0: [0.30], 1: [0.31]}
    lossy = trial("baseline", errors, Config(), tags=TAGS | {"data_form": "parquet of JPEG"})
    page = page_of(tmp_path, Recorded([lossy], sweep(table())))
    said = "Our images are copies of the official ones in an encoding that can change pixels ({})."
    compared = f"{said.format('JPEG')} The course report used the official ones."
    in_short, _, details = page.partition("## The course report's claims")
    assert compared in in_short and compared in details
    official = page_of(tmp_path, Recorded([trial("baseline", errors, Config())], sweep(table())))
    assert "copies" not in official
    digits = Config(data="digits")
    palette = trial("baseline", errors, digits, tags=TAGS | {"data": "digits", "data_form": "parquet of GIF"})
    page = page_of(tmp_path, Recorded([palette], sweep(table("digits"))))
    assert said.format("GIF") in page and "The course report used" not in page, "nothing is compared with it"


def test_values_that_have_commas_are_told_apart(tmp_path: Path) -> None:
    errors, names = {0: [0.30]}, ("Intel, 1 thread(s)", "AMD, 2 thread(s)")
    trials = [
        trial(name, errors, config, tags=TAGS | {"device_name": name})
        for name, config in zip(names, (Config(), Config(loss="hinge")), strict=True)
    ]
    page = page_of(tmp_path, Recorded(trials, sweep(table())))
    assert "| hardware | Intel, 1 thread(s); AMD, 2 thread(s) |" in page
    assert "| 3 | hinge | loss hinge |" in page


def test_the_settings_say_all_in_which_a_row_differs_from_the_baseline(tmp_path: Path) -> None:
    configs = {
        "baseline": Config(), "bf16": Config(precision="bf16"),
        "short": Config(channels=(4, 8), bn_momentum=0.08746547346173293, batch_norm=True, epochs=1, precision="bf16"),
    }  # fmt: skip
    rows = tuple(_row(name, config) for name, config in configs.items())
    page = page_of(tmp_path, Recorded([], sweep(table().model_copy(update={"rows": rows}))))
    assert "| epochs | 20 |" in page and "| precision | fp32 |" in page
    changes = page.partition("#### Changes by row")[2].partition("### ")[0]
    assert [line for line in changes.splitlines() if line.startswith("| 3")] == [
        "| 3 | bf16 | precision bf16 |",
        "| 3 | short | channels 4, 8; batch_norm True; bn_momentum 0.08747; epochs 1; precision bf16 |",
    ]


def test_effects_of_both_protocols_are_not_called_test_errors(tmp_path: Path) -> None:
    configs = [Config(), Config(loss="hinge"), Config(protocol="B"), Config(protocol="B", loss="hinge")]
    trials = [
        trial(name, {}, config, seeds=(0,), histories={f"{metric}/seed_0": [(1, 0.3)] for metric in metrics})
        for name, config in zip("abcd", configs, strict=True)
        for metrics in [("train_error", config.held_out)]
    ]
    rows = tuple(_row(str(index), config) for index, config in enumerate(configs[2:]))
    held_out = table().model_copy(update={"number": "7", "rows": rows, "reference": rows[0].key})
    page = page_of(tmp_path / "A", Recorded(trials, sweep(table())))
    assert "An effect is the test error after the last epoch" in page
    page = page_of(tmp_path / "both", Recorded(trials, sweep(table(), held_out)))
    assert "An effect is the held-out error after the last epoch" in page
    assert "It is the test error under protocol A, and the validation error under protocol B." in page


def test_a_report_of_no_record_is_one_line_and_makes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analysis.report", str(tmp_path / "out")]
    for option, value in (("--tracking-uri", f"sqlite:///{tmp_path}/none.db"), ("--folder", str(tmp_path))):
        answer = subprocess.run([*command, option, value], capture_output=True, text=True, check=False)
        assert answer.returncode == 2
        assert answer.stderr.startswith("error: ") and str(tmp_path) in answer.stderr and answer.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_html_page_needs_what_lies_beside_it_or_nothing(tmp_path: Path) -> None:
    data = ReportData(Recorded([trial("baseline", {0: [0.3]}, Config())], sweep(table())), tmp_path)
    page = report.write_report(data).read_text()
    assert '<td class="short">hinge</td>' in page
    pictures = sorted(file.name for file in tmp_path.glob("*.png"))
    assert sorted(re.findall('src="([^"]*)"', page)) == pictures and len(pictures) > 2
    linked = [link for link in re.findall('href="([^"]*)"', page) if not link.startswith("#")]
    numbers = [name.replace(".png", ".csv") for name in pictures]
    assert sorted(linked) == sorted([*numbers, "everything.csv", "tables.tex"]), "the numbers lie beside the picture"
    assert all((tmp_path / link).exists() for link in linked)
    alone = report.write_report(data, embed=True).read_text()
    assert alone.count('src="data:image/png;base64,') == len(pictures)
    assert not [link for link in re.findall('href="([^"]*)"', alone) if not link.startswith("#")]
    assert "http" not in re.sub("base64,[A-Za-z0-9+/=]*", "", page + alone) and "<script" not in alone


def test_digits_are_never_compared_with_the_report(tmp_path: Path) -> None:
    config = Config(data="digits")
    tags = TAGS | {"data": "digits"}
    page = page_of(tmp_path, Recorded([trial("baseline", {0: [0.1]}, config, tags=tags)], sweep(table("digits"))))
    assert page.startswith("# Ablations on digits")
    assert "0.3016" not in page and "the course report says" not in page
    assert not any("0.3016" in file.read_text() for file in tmp_path.glob("*.csv"))


def test_what_was_begun_in_passing_hides_no_finished_table(tmp_path: Path) -> None:
    short = [ResolvedRow(name="cross-entropy", key="short", config=Config(epochs=2))]
    stopped = sweep(table().model_copy(update={"rows": tuple(short)}))
    done = [trial("baseline", {0: [0.30], 1: [0.32]}, Config())]
    page = page_of(tmp_path, Recorded(done, sweep(table()), stopped))
    assert "| cross-entropy | 0.1550" in page and "0.3016 @8" in page


def test_every_section_is_a_module_with_one_function_and_in_the_report() -> None:
    modules = [module.name for module in pkgutil.iter_modules(sections.__path__)]
    listed = [function.__module__.rpartition(".")[2] for function in _sections()]
    assert sorted(listed) == sorted(modules)
    for name in modules:
        module = importlib.import_module(f"analysis.sections.{name}")
        defined = [
            function for function in vars(module).values()
            if inspect.isfunction(function) and function.__module__ == module.__name__
        ]  # fmt: skip
        assert [function.__name__ for function in defined if not function.__name__.startswith("_")] == ["section"]
        assert inspect.signature(module.section) == inspect.signature(report.OPENING[0]), name
        assert module.TITLE, name


def test_a_section_of_an_empty_record_has_its_title_and_names_what_is_missing(tmp_path: Path) -> None:
    data = ReportData(Recorded([]), tmp_path)
    for function in _sections():
        made = function(data)
        assert isinstance(made, Section) and made.title == sys.modules[function.__module__].TITLE
        assert made.blocks, made.title
    page = page_of(tmp_path, Recorded([]))
    assert "The record holds too little yet for a summary" in page
    assert "Missing: no search is recorded." in page


def _sections() -> list[Callable[[ReportData], Section]]:
    return [*report.OPENING, *chain.from_iterable(report.SECTIONS.values())]


def test_every_link_in_the_page_leads_to_a_heading(tmp_path: Path) -> None:
    trials = [trial("baseline", {0: [0.30]}, Config()), trial("hinge", {0: [0.40]}, Config(loss="hinge"))]
    page = page_of(tmp_path, Recorded(trials, sweep(table())))
    headings = re.findall(r"^##+ (.*)$", page, re.MULTILINE)
    assert "Table 3. Loss" in headings and "### Table 3. Loss" in page
    assert len(set(headings)) == len(headings)
    links = re.findall(r"\(#([^)]*)\)", page)
    before = {"in-short", "the-course-reports-claims"}
    listed = {anchor_of(heading) for heading in headings} - before - {"contents"}
    assert set(links) == listed, "the contents list every heading after them"
    html = (tmp_path / "index.html").read_text()
    anchors = re.findall('id="([^"]*)"', html)
    assert sorted(re.findall('href="#([^"]*)"', html)) == sorted([*links, *before])
    assert set(anchors) == set(links) | before and len(set(anchors)) == len(anchors)
    assert re.search("<h2>Results</h2>.*<h3>Reported and reproduced</h3>.*<h4>Table 3. Loss</h4>", html, re.DOTALL)


@pytest.mark.parametrize(("sign", "verdict"), [("-", "established"), ("+", "contradicted")])
def test_the_claims_stand_before_the_details_with_verdict_and_figure(sign: str, verdict: str, tmp_path: Path) -> None:
    errors = {0: [0.30], 1: [0.31], 2: [0.32]}
    changed = {seed: [error + float(f"{sign}1") * (0.05 + seed / 1000)] for seed, (error,) in errors.items()}
    trials = [trial("baseline", errors, Config()), trial("norm", changed, Config(batch_norm=True))]
    printed = table()
    rows = (*printed.rows[:1], _row("yes", Config(batch_norm=True)))
    page = page_of(tmp_path, Recorded(trials, sweep(printed.model_copy(update={"rows": rows}))))
    assert page.index("## In short") < page.index("## The course report's claims") < page.index("## Contents")
    figure = rf"\{sign}0.0510 ± 0.0025 \(3 seeds, p <0.001\)"
    assert re.search(rf"\| Batch norm lowers .* \| {verdict} at a learning rate of 0.001 \| {figure} \|", page), page
    assert "| There is no serious over-fitting | contradicted | train error 0.1550 ±" in page


def test_the_summary_says_in_a_sentence_each_what_is_recorded(tmp_path: Path) -> None:
    record = Recorded(
        [trial("baseline", {0: [0.30]}, Config()), trial("norm", {0: [0.28]}, Config(batch_norm=True))],
        sweep(table().model_copy(update={"rows": (*table().rows[:1], _row("yes", Config(batch_norm=True)))})),
    )
    page = page_of(tmp_path, record)
    short = page[page.index("## In short") : page.index("## The course report's claims")]
    assert (
        "At a learning rate of 0.001, batch norm lowers the test error after the last epoch by 0.0200 in the mean over "
        "1 seed, which is too little to exclude chance." in short
    )
    assert "None of the 1 printed test errors with ours beside them can be judged: that takes two seeds" in short
    for left_out in ("mini-batch", "smooth", "search", "Of 1 change"):
        assert left_out not in short, left_out


def test_the_summary_says_in_what_the_loss_is_smoother_and_in_what_rougher(tmp_path: Path) -> None:
    """A measure counts only where all seeds agree: with batch norm the largest beta-smoothness is twice as large with
    one seed, and nearly the same with the other. Each training is probed once, at two step sizes."""
    plain = [[1.0, 1.0, 1.0], [2.0, 2.0, 4.0]]
    normed = [[[1.0, 1.0, 8.0], [1.5, 4.0, 1.0]], [[1.0, 1.0, 3.9], [1.5, 4.0, 1.0]]]
    configs = {"plain, Adam 0.001": Config(epochs=1), "batch norm, Adam 0.001": Config(epochs=1, batch_norm=True)}
    tags = TAGS | {"probe_every": "50"}
    trials = [trial(name, {0: [0.3], 1: [0.3]}, config, tags=tags) for name, config in configs.items()]
    rows = tuple(_row(name, config) for name, config in configs.items())
    record = Recorded(trials, sweep(table().model_copy(update={"rows": rows, "measure": PROBE, "reference": ""})))
    for each, probes in zip(trials, ([plain, plain], normed), strict=True):
        record.files[each.run_id, TRACES] = {
            **{f"probes/seed_{seed}": np.array([of_seed]) for seed, of_seed in enumerate(probes)},
            **{f"step_losses/seed_{seed}": np.ones(20) for seed in (0, 1)},
        }
    page = page_of(tmp_path, record)
    assert (
        "A network counts as smoother by a measure, and the other one as rougher, where its value is below 0.9 " in page
    )
    assert (
        "With Adam 0.001, batch norm makes the loss smoother by 2 of 4 measures, rougher by 1 and neither by 1 (2 "
        "seeds): the range of the loss 1 without it and 0.5 with it; the range of the gradient's change 1 without it "
        "and 3 with it; the largest beta-smoothness 4 without it and 5.95 with it; that of the longest step 4 without "
        "it and 1 with it."
    ) in page


def _row(name: str, config: Config) -> ResolvedRow:
    return ResolvedRow(name=name, key=config.key("abc"), config=config)


def test_the_environment_is_set_before_mlflow_and_ray_read_it() -> None:
    code = (
        "import sys, analysis; "
        "assert not {'mlflow', 'ray', 'optuna', 'torch'} & sys.modules.keys(), 'the import is cheap'; "
        "import logging, os, mlflow, optuna; "
        "assert os.environ['TUNE_DISABLE_AUTO_CALLBACK_LOGGERS'] == '1'; "
        "quiet = ('mlflow.store', 'alembic.runtime', 'optuna.storages._in_memory', 'optuna.study.study', 'ray.tune'); "
        "assert not [name for name in quiet if logging.getLogger(name).isEnabledFor(logging.INFO)]; "
        "print(os.environ['MLFLOW_HTTP_REQUEST_MAX_RETRIES'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "TUNE"))}
    for more, expected in (({}, "2"), ({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7"}, "7")):
        answer = subprocess.run(
            [sys.executable, "-c", code], env=environment | more, capture_output=True, text=True, check=False
        )
        assert (answer.stdout.strip(), answer.returncode) == (expected, 0), answer.stderr


def test_each_verdict_is_said_with_the_method_that_gave_it(tmp_path: Path) -> None:
    """Two rows share their variance with the baseline; a training of a third stayed at chance."""
    errors = {
        0.001: (0.300, 0.311, 0.306, 0.317), 0.01: (0.351, 0.364, 0.352, 0.369), 0.02: (0.299, 0.311, 0.303, 0.320),
        0.03: (0.45, 0.90, 0.44, 0.46),
    }  # fmt: skip
    trials = [trial(str(lr), {s: [e] for s, e in enumerate(row)}, Config(lr=lr)) for lr, row in errors.items()]
    rates = table().model_copy(update={"rows": tuple(_row(str(lr), Config(lr=lr)) for lr in errors), "slug": "lr"})
    page = page_of(tmp_path, Recorded(trials, sweep(rates)))
    assert "1 (0.01) raises the error after the last epoch and none lower it, with p below 0.05" in page
    assert "; 1 (0.02) changes it by less than 0.01." in page
    assert "Study tables: 2 of 3 changes are tested. Not tested, because a training stayed at chance: 0.03." in page
    assert "share one variance with 6 degrees of freedom: Cochran's test does not object" in page
    assert page.count("0.03: not tested, because a training stayed at chance") == 1
    assert page.count("Not tested, because a training stayed at chance: 0.03.") == 2
    assert re.search(r"\| 0.02 \| [-+]0.000\d ± 0.0\d+ \| no effect beyond the margin \|", page)
    assert re.search(r"\| 0.03 \|.*\| a training stayed at chance \|", page)
    numbers = (tmp_path / "effects.csv").read_text()
    for verdict in (",higher,3,6,", ",no effect beyond the margin,3,6,", ",a training stayed at chance,,,"):
        assert verdict in numbers, "the verdict, the rows pooled, the freedom"

    report.write_report(ReportData(Recorded(trials, sweep(rates)), tmp_path, margin=0.001))
    assert re.search(r"\| 0.02 \|.*\| undecided \|", (tmp_path / "README.md").read_text()), "a smaller one decides less"
