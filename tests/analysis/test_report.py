"""The report as a page: what it says, what it says is missing, and how it is written."""

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

from analysis import report, sections
from analysis.record.replicates import replicates
from analysis.report import MakeSection
from analysis.report_data import ReportData
from analysis.tables import reproduce
from analysis.writing.page import Absent, Section, anchor_of
from tests.analysis_records import TAGS, Recorded, page_of, resolved_row, sweep, table, trial
from tests.conftest import ROOT, Command
from trainable.config import Config
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


def test_protocol_b_shows_the_validation_error(tmp_path: Path) -> None:
    trials, rows = [], []
    for name, config in (("baseline", Config(protocol="B")), ("hinge", Config(protocol="B", loss="hinge"))):
        series = {f"{metric}/seed_0": [(1, 0.4), (2, 0.3)] for metric in ("train_error", "val_error")}
        trials.append(trial(name, {}, config, seeds=(0,), histories=series))
        rows.append(resolved_row(name, config))
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
    palette = trial("baseline", errors, Config(), tags=TAGS | {"data_form": "parquet of GIF"})
    unprinted = tuple(row.model_copy(update={"reported": None}) for row in table().rows)
    page = page_of(tmp_path, Recorded([palette], sweep(table().model_copy(update={"rows": unprinted}))))
    assert said.format("GIF") in page and "The course report used" not in page, "nothing is compared with it"
    own = trial("baseline", errors, Config(data="digits"), tags=TAGS | {"data_form": "folders of JPEG"})
    assert "copies" not in page_of(tmp_path, Recorded([own], sweep(table("digits")))), "they are the originals"


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
    rows = tuple(resolved_row(name, config) for name, config in configs.items())
    page = page_of(tmp_path, Recorded([], sweep(table().model_copy(update={"rows": rows}))))
    assert "| epochs | 20 |" in page and "| precision | fp32 |" in page
    changes = page.partition("#### Changes by row")[2].partition("### ")[0]
    assert [line for line in changes.splitlines() if line.startswith("| 3")] == [
        "| 3 | bf16 | precision bf16 |",
        "| 3 | short | channels [4, 8]; batch_norm true; bn_momentum 0.08747; epochs 1; precision bf16 |",
    ]


def test_effects_of_both_protocols_are_not_called_test_errors(tmp_path: Path) -> None:
    configs = [Config(), Config(loss="hinge"), Config(protocol="B"), Config(protocol="B", loss="hinge")]
    trials = [
        trial(name, {}, config, seeds=(0,), histories={f"{metric}/seed_0": [(1, 0.3)] for metric in metrics})
        for name, config in zip("abcd", configs, strict=True)
        for metrics in [("train_error", config.held_out)]
    ]
    rows = tuple(resolved_row(str(index), config) for index, config in enumerate(configs[2:]))
    held_out = table().model_copy(update={"number": "7", "rows": rows, "reference": rows[0].key})
    page = page_of(tmp_path / "A", Recorded(trials, sweep(table())))
    assert "An effect is the test error after the last epoch" in page
    page = page_of(tmp_path / "both", Recorded(trials, sweep(table(), held_out)))
    assert "An effect is the held-out error after the last epoch" in page
    assert "It is the test error under protocol A, and the validation error under protocol B." in page


def test_a_report_of_no_record_is_one_line_and_makes_nothing(here: Command, tmp_path: Path) -> None:
    for option, value in (("--tracking-uri", f"sqlite:///{tmp_path}/none.db"), ("--folder", str(tmp_path))):
        answer = here("out", option, value, app=report.app)
        assert answer.returncode == 2
        assert answer.stderr.startswith("error: ") and str(tmp_path) in answer.stderr and answer.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_is_one_line(here: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = here("file", "--folder", str(ROOT / "docs" / "record"), app=report.app)
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert answer.stderr.startswith("error: file: cannot be written: ")


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
        assert inspect.signature(module.section).parameters == inspect.signature(report.OPENING[0]).parameters, name
        assert module.TITLE, name


def test_a_section_for_which_an_empty_record_has_nothing_is_left_out_and_named(tmp_path: Path) -> None:
    data = ReportData(Recorded([]), tmp_path)
    made = [function(data) for function in _sections()]
    assert [each.title for each in made] == [sys.modules[function.__module__].TITLE for function in _sections()]
    assert all(each.blocks for each in made if isinstance(each, Section))
    page = page_of(tmp_path, Recorded([]))
    assert "The record holds too little yet for a summary" in page
    absent = [each for each in made if isinstance(each, Absent)]
    assert len(absent) > 10
    for each in absent:
        assert f"# {each.title}\n" not in page and f"| {each.title} | {each.why} |" in page
    for group in ("Results", "Search", "Networks and landscapes"):
        assert f"## {group}\n" not in page


def test_a_report_on_a_study_of_ones_own_does_not_speak_of_the_course_report(tmp_path: Path) -> None:
    configs = {"mine": Config(lr=0.01), "hers": Config(lr=0.02)}
    trials = [trial(name, {0: [0.3, 0.2], 1: [0.4, 0.3]}, config) for name, config in configs.items()]
    rows = tuple(resolved_row(name, config) for name, config in configs.items())
    own = table().model_copy(update={"rows": rows, "reference": rows[0].key})
    page = page_of(tmp_path, Recorded(trials, sweep(own)))
    for part in ("### Tables\n", "#### Table 3. Loss\n", "| hers | 0.1250 ±"):
        assert part in page
    results = page.partition("\n## Results\n")[2].partition("\n## Provenance\n")[0]
    assert "reported" not in results and "course report" not in results and "Missing" not in results
    assert "| The course report's claims | no recorded table can be compared" in page


def _sections() -> list[MakeSection]:
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
