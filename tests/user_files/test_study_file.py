"""A study of one's own from a file: it runs like a built-in one, and a bad file is one line before anything starts."""

import json
import re
from pathlib import Path

import pytest

from sweeps.studies.config_file import read_config
from sweeps.studies.study_file import read_study
from tests.conftest import ROOT, Command
from trainable.errors import UsageError
from trainable.own_code.code_file import CodeFile

TABLES, SEARCH = (ROOT / "docs" / "studies" / name for name in ("schedules.yaml", "activation_search.py"))
ROW = "tables:\n- number: '44'\n  slug: x\n  title: x\n  varies: x\n  rows:\n"
SPACE = "search:\n  space:\n"
GRID = "tables:\n- number: '44'\n  title: x\n  grid: "
DIGITS = ("--data", "digits")


def reported(field: str, value: str) -> str:
    """What a row reports, in YAML, with that field's value."""
    fields = {"train_error": "0.1", "train_epoch": "9", "test_error": "0.2", "test_epoch": "8"} | {field: value}
    return "{" + ", ".join(f"{name}: {given}" for name, given in fields.items()) + "}"


def test_a_file_runs_alone_or_beside_other_studies(
    here: Command,
) -> None:
    plans = []
    for more in ([], ["--studies", "tables"], ["--studies", "schedules"]):
        arguments = (*DIGITS, "--study", str(TABLES), "--dry-run", "--json", *more)
        plans.append(json.loads(here(*arguments).stdout))
    assert [plan["rows"] for plan in plans] == [3, 27, 3]
    assert [plan["distinct"] for plan in plans] == [3, 20, 3], "its first row is the baseline"
    arguments = (*DIGITS, "--study", str(SEARCH), "--samples", "3", "--dry-run", "--json")
    assert json.loads(here(*arguments).stdout)["search"]["to_run"] == 3


def test_the_studies_on_the_page_are_valid(tmp_path: Path) -> None:
    """Those that are whole, and the searches. The files that they name are beside the page."""
    on_the_page = re.findall("\n```yaml\n(.*?)```", (TABLES.parent / "README.md").read_text(), re.DOTALL)
    whole = [text for text in on_the_page if re.match("(title|tables|baseline|search):", text)]
    assert len(whole) == 5
    for example in (*TABLES.parent.glob("*.py"), *TABLES.parent.glob("*.yaml")):
        (tmp_path / example.name).write_bytes(example.read_bytes())
    for text in whole:
        (tmp_path / "x.yaml").write_text(text)
        read_study(tmp_path / "x.yaml")


def test_a_grid_makes_a_row_of_every_combination(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def loss(network, images, labels, weight): ...")
    (tmp_path / "x.yaml").write_text(
        ROW + "  - name: plain\n  grid:\n    batch_norm: [false, true]\n    channels: [[8, 16], [16, 32]]\n    "
        "loss: [mine.py]\n    loss_arguments: [{weight: 0.5}]\n"
    )
    (table,) = read_study(tmp_path / "x.yaml").tables
    first, *of_grid = table.rows
    assert (first.name, first.change) == ("plain", {})
    assert [row.name for row in of_grid] == [
        f"batch_norm {has}, channels {wide}" for has in ("false", "true") for wide in ("[8, 16]", "[16, 32]")
    ]
    assert of_grid[2].change["batch_norm"] is True
    assert of_grid[2].change["channels"] == [8, 16]
    assert isinstance(of_grid[2].change["loss"], CodeFile), "its file is read"


def test_arguments_may_be_named_alone(tmp_path: Path, here: Command) -> None:
    (tmp_path / "mine.py").write_text("def loss(network, images, labels, weight, power): ...")
    (tmp_path / "x.yaml").write_text(
        "baseline: {loss: mine.py, loss_arguments: {weight: 1.0, power: 1}}\n" + GRID + "\n    loss_arguments[weight]: "
        "[0.5, 1.0]\n    loss_arguments[power]: [1, 2]\n"
    )
    (table,) = read_study(tmp_path / "x.yaml").tables
    assert [row.name for row in table.rows] == [
        f"loss.weight {weight}, loss.power {power}" for weight in (0.5, 1.0) for power in (1, 2)
    ]
    assert table.rows[1].change == {"loss_arguments": {"weight": 0.5, "power": 2}}
    refused = here(*DIGITS, "--only", "6", "--set", "loss=mine.py", "--set", "loss_arguments[weight]=2", "--dry-run")
    assert "loss mine.py: loss(weight=2): TypeError: loss() missing 1 required" in refused.stderr
    for whole in ('{"weight": 1}', "5"):
        twice = here(*DIGITS, "--set", "loss_arguments[weight]=2", "--set", f"loss_arguments={whole}", "--dry-run")
        assert (
            twice.stderr == "error: --set loss_arguments[weight]: loss_arguments gives it, too; leave it out of one\n"
        )


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("x.yaml", "tables: [", "x.yaml, line 1: not YAML: "),
        ("x.yaml", "- 3", "x.yaml: must be a mapping with tables or a search, found list"),
        ("x.yaml", "name: mine", "x.yaml, line 1, top level: must have tables or a search"),
        ("x.yaml", "name: my study\ntables: []", "x.yaml, line 1, name: 'my study' "),
        ("x.yaml", "tabels: []", "x.yaml, line 1, tabels: is unknown (did you mean tables?); allowed: name, "),
        ("x.yaml", ROW + "  - name: a\n    chnage: {}",
         "rows[0].chnage: is unknown (did you mean change?); allowed: name, "),
        ("x.yaml", ROW + "  - name: a\n    change: {lr: -1}",
         "x.yaml, line 8, tables[0].rows[0].change.lr: -1 should be greater than 0"),
        ("x.yaml", ROW + "  - name: a\n    change:\n      optimiser: sgd",
         "x.yaml, line 9, tables[0].rows[0].change.optimiser: is unknown (did you mean optimizer?); allowed: data, "),
        ("x.yaml", GRID + "{lr: [0.1, -1]}", "x.yaml, line 4, tables[0].grid.lr: -1 should be greater than 0"),
        ("x.yaml", GRID + "{lr: 0.1}", "x.yaml, line 4, tables[0].grid.lr: 0.1 must be a list"),
        ("x.yaml", GRID + "{}", "x.yaml, line 4, tables[0].grid: {} must have at least 1 item"),
        ("x.yaml", GRID + "[a]", "x.yaml, line 4, tables[0].grid: ['a'] should be a valid dictionary"),
        ("x.yaml", GRID + "{lr: []}", "x.yaml, line 4, tables[0].grid.lr: [] must have at least 1 item"),
        ("x.yaml", GRID + "{lr: [0.1, 0.1]}", "tables[0].rows: two rows have the name '0.1'"),
        ("x.yaml", GRID + "{momentum: [0.5], lr: [0.1]}",
         "table 44, row momentum 0.5, lr 0.1: config field momentum: 0.5 has no effect here"),
        ("x.yaml", ROW + "  - a", "tables[0].rows[0]: 'a' must be a mapping with name, change, reported"),
        ("x.yaml", ROW + "  - name: a\n  - name: a\n    change: {lr: 1.0}",
         "tables[0].rows: two rows have the name 'a'"),
        ("x.yaml", ROW + "  - name: a\n    change: {data: cifar10}",
         "table 44, row a: data cifar10: a sweep has one data set, that of --data: digits"),
        ("x.yaml", ROW + "  - name: a\n  - name: b\n    change: {protocol: B}",
         "table 44, row b: protocol B must be that of row a"),
        ("x.yaml", "float: 1\n" + ROW + "  - name: a", "x.yaml, line 1, float: is unknown; allowed: name, "),
        ("x.yaml", ROW + "  - name: a\n  reference: {protocol: B}",
         "table 44: protocol B of its reference must be that of its rows"),
        ("x.yaml", SPACE + "    lr: {low: 0.1, hgh: 1.0}", "search.space.lr.hgh: is unknown"),
        ("x.yaml", "tables:\n- number: 14\n  slug: x", 'tables[0].number: 14 must be text: write it in quotes'),
        ("x.yaml", "tables:\n- number: seven\n  slug: x\n  title: x\n  varies: x\n  rows: []",
         "x.yaml, line 2, tables[0].number: 'seven' "),
        ("x.yaml", ROW.replace("  rows:\n", "  rows: []\n"),
         "x.yaml, line 6, tables[0].rows: must have at least one row"),
        ("x.yaml", ROW.replace("varies: x", "varies: x\n  measure: heat") + "  - name: a",
         "x.yaml, line 6, tables[0].measure: 'heat' is unknown; allowed: losses, probe, surface, correct\n"),
        *(("x.yaml", ROW.replace("varies: x", f"varies: x\n  measure: {internal}") + "  - name: a",
           f"x.yaml, line 6, tables[0].measure: '{internal}' is unknown; allowed: losses, probe, surface, correct\n")
          for internal in ("predictions", "differences", "rungs")),
        ("x.py", "from trainable.study import Row, Table\n"
         "Table(number='44', title='x', rows=(Row(name='a'),), measure='heat')",
         "x.py, line 2: table field measure 'heat': is unknown; allowed: losses, probe, surface, correct\n"),
        ("x.py", "from trainable.measures import RUNGS\nfrom trainable.study import Row, Study, Table\n"
         "STUDY = Study(name='x', title='x', tables=(Table(number='44', title='x', rows=(Row(name='a'),), "
         "measure=RUNGS),))",
         "x.py, tables[0].measure: 'rungs' is unknown; allowed: losses, probe, surface, correct\n"),
        *(("x.yaml", ROW.replace("varies: x", f"varies: x\n  {field}: {value}") + "  - name: a",
           f"x.yaml, line 6, tables[0].{field}: {shown}")
          for field, value, shown in (
              ("seeds", "true", "True should be a valid integer"),
              ("cpu_epochs", "0", "0 should be greater than or equal to 1"),
              ("cpu_epochs", "-5", "-5 should be greater than or equal to 1"),
              ("cpu_epochs", "true", "True should be a valid integer"),
          )),
        *(("x.yaml", ROW + f"  - name: a\n    reported: {reported(field, value)}",
           f"x.yaml, line 8, tables[0].rows[0].reported.{field}: {shown}")
          for field, value, shown in (
              ("test_error", "5.86", "5.86 should be less than or equal to 1"),
              ("test_error", ".nan", "nan should be less than or equal to 1"),
              ("train_error", ".inf", "inf should be less than or equal to 1"),
              ("train_error", "true", "True should be a valid number"),
              ("test_epoch", "-3", "-3 should be greater than or equal to 1"),
              ("train_epoch", "0", "0 should be greater than or equal to 1"),
              ("train_epoch", "true", "True should be a valid integer"),
          )),
        ("x.yaml", SPACE + "    learning_rate: {low: 1, high: 2}", "line 1, search: learning_rate is unknown; "),
        ("x.yaml", SPACE + "    lr: {low: 2, high: 1}", "line 3, search.space.lr: low 2 must not be above high 1"),
        ("x.yaml", SPACE + "    lr: {low: 0, high: 1, log: true}", "low 0 must be above 0 on a logarithmic scale"),
        ("x.yaml", SPACE + "    lr: {low: -1.0, high: 1.0}",
         "x.yaml, line 3, search.space.lr: -1.0 should be greater than 0"),
        ("x.yaml", SPACE + "    lr: {low: true, high: 3}",
         "line 3, search.space.lr.low: True should be a valid number"),
        ("x.yaml", SPACE + "    optimizer: {choices: [adam, sgd]}\n    lr: {low: 0.1, high: 1, when: {optimizer: []}}",
         "line 4, search.space.lr.when.optimizer: [] must have at least 1 item"),
        *(("x.yaml", f"{SPACE}    lr: {{low: 0.1, high: 1.0}}\n  compared_with: {{{name}: {value}}}",
           f"line 1, search: compared_with, {name}: options of the sweep decide it, and a proof runs on protocol A")
          for name, value in (("epochs", 3), ("protocol", "B"), ("precision", "bf16"))),
        *(("x.yaml", f"{SPACE}    lr: {{low: 0.1, high: 1.0}}\n  {field}: true",
           f"line 4, search.{field}: True should be a valid integer") for field in ("number", "epochs_factor")),
        ("x.yaml", SPACE + "    lr: {low: 0.1, high: 1.0}\n  goal: {test_error: 0.2, epochs: 0}",
         "line 4, search.goal.epochs: 0 should be greater than or equal to 1"),
        ("x.yaml", SPACE + "    lr: {low: 0.1, high: 1.0}\n  goal: {test_error: 0.2, test_error_with_flips: 0.3}",
         "line 4, search.goal: test_error_with_flips 0.3 must not be above test_error 0.2"),
        ("x.yaml", SPACE + "    shift: {low: 0, high: 4}\n  start: [{values: {shift: 2.5}}]",
         "start point 1 of its search: shift 2.5 is not in the space (0 to 4)"),
        ("x.yaml", SPACE + "    shift: {low: 0, high: 4}\n  start: [{values: {shift: true}}]",
         "start point 1 of its search: shift true is not in the space (0 to 4)"),
        ("x.yaml", SPACE + "    channels[0]: {low: 0, high: 8}",
         "line 3, search.space.channels[0]: 0 should be greater than or equal to 1"),
        ("x.yaml", SPACE + "    width: {field: 'channels[2]', low: 4, high: 8}",
         "x.yaml, line 1, search: channels[2] is unknown (did you mean channels[1]?); allowed: data, "),
        ("x.yaml", SPACE + "    optimizer: {choices: [adam, lion]}",
         "search.space.optimizer: 'lion'"),
        ("x.yaml", SPACE + "    lr: {choices: ['0.01', '0.1']}", "lr '0.1' must be written as 0.1"),
        ("x.yaml", SPACE + "    batch_size: {low: 64.0, high: 512}",
         "line 3, search.space.batch_size: 380.78"),
        ("x.yaml", SPACE + "    lr: {low: 0.1, high: 1.0}\n  start: [{values: {lr: fast}}]",
         "start point 1 of its search: lr fast is not in the space (0.1 to 1)"),
        ("x.yaml", SPACE + "    epochs: {low: 1, high: 9}", "epochs: options of the sweep decide it"),
        ("x.yaml", SPACE + "    lr: {low: 1.0, high: 2.0}\n  fixed: {lr: 1.5}", "lr: it is fixed and searched"),
        ("x.yaml", SPACE + "    lr: {low: 1.0, high: 2.0}\n  start: [{values: {dropout: 0.1}}]",
         "start: dropout is not in the space"),
        ("x.yaml", SPACE + "    a: {field: lr, low: 0.1, high: 0.2}\n    b: {field: lr, low: 0.3, high: 0.4}",
         "search: b: it sets the same as a, and nothing keeps them apart"),
        ("x.yaml", SPACE + "    adam/lr: {field: lr, low: 0.1, high: 0.2}", "'adam/lr' must have no slash"),
        ("x.yaml", f"name: {'n' * 61}\n" + ROW + "  - name: a", "at most 60 characters"),
        ("x.py", "STUDY = 3", "x.py: must define STUDY, a trainable.study.Study; found int"),
        ("x.py", "a = 1\nraise RuntimeError('no')", "x.py, line 2: RuntimeError: no"),
        ("x.py", "a = (", "x.py"),
        ("x.py", "from trainable.study import Row\nRow(name='a', chnage={})",
         "x.py, line 2: row field chnage is unknown"),
        ("x.toml", "", "x.toml: the name must end in one of .yaml, .yml, .py"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_line_with_its_place_and_starts_nothing(
    name: str, text: str, problem: str, here: Command, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    answer = here(*DIGITS, "--study", name)
    assert (answer.returncode, answer.stdout, len(answer.stderr.splitlines())) == (2, "", 1)
    assert answer.stderr.startswith(("error: --study ", "error: study x, ", "error: table 44"))
    assert problem in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing was started or written"


@pytest.mark.parametrize(
    ("text", "arguments", "problem"),
    [
        ("name: a\nconfig: {lr: fast}\n", [], "config field 'lr': 'fast' should be a valid number"),
        ("name: a\nconfig: {rate: 1}\n", [], "config field 'rate' is unknown; allowed: data, "),
        ("config: {}\n", [], "must have a name and a config, a mapping of fields, and nothing else"),
        ("name: [\n", [], "best.yaml, line 2: not YAML"),
        ("name: a\nconfig: {}\n", ["--epochs", "3"], "leave out one"),
        ("name: a\nconfig: {}\n", ["--set", "lr=0.1"], "leave out one"),
    ],
)
def test_a_bad_config_file_is_one_line(
    text: str, arguments: list[str], problem: str, here: Command, tmp_path: Path
) -> None:
    (tmp_path / "best.yaml").write_text(text)
    answer = here("--config", "best.yaml", *arguments)
    assert answer.returncode == 2
    assert problem in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_calibration_stands_in_the_place_of_the_search_alone(here: Command, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(ROW + "  - name: a\n" + SPACE + "    lr: {low: 0.1, high: 0.2}")
    plan = json.loads(here(*DIGITS, "--study", "x.yaml", "--calibrate", "1", "--dry-run", "--json").stdout)
    assert [row for config in plan["configs"] for row in config["rows"]] == [
        "44/a", "30/config 1", "30/config 1, a third", "30/config 1, a half",
    ]  # fmt: skip


def test_a_table_is_named_by_its_title_where_it_says_nothing_else(here: Command, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "tables:\n- {number: '44', title: Loss & rate, rows: [{name: a, change: {lr: 0.1}}]}"
    )
    plan = json.loads(here(*DIGITS, "--study", "x.yaml", "--dry-run", "--json").stdout)
    assert [config["name"] for config in plan["configs"]] == ["loss-rate-a"]
    (tmp_path / "x.yaml").write_text("tables:\n- {number: '44', rows: [{name: a}]}")
    assert "tables[0].title: is missing" in here(*DIGITS, "--study", "x.yaml", "--dry-run").stderr


def test_numbers_without_a_point_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(SPACE + "    lr: {choices: [1e-3, 1E-2]}\n  start: [{values: {lr: 1e-3}}]")
    search = read_study(file).required_search
    assert search.space["lr"].ends == (0.001, 0.01) and search.start[0].values == {"lr": 0.001}
    file.write_text("name: a\nconfig: {lr: 1e-3}")
    assert read_config(file).tables[0].rows[0].change["lr"] == 0.001


def test_a_missing_file_and_a_taken_name_are_refused(tmp_path: Path, here: Command) -> None:
    latin = tmp_path / "latin.py"
    latin.write_bytes(b"# coding: latin-1\n# caf\xe9\n")
    for file in (tmp_path / "none.yaml", tmp_path / "none.py", latin):
        with pytest.raises(UsageError, match="cannot be read"):
            read_study(file)
    (tmp_path / "tables.yaml").write_text(SPACE + "    lr: {low: 0.1, high: 0.2}")
    taken = here(*DIGITS, "--study", "tables.yaml", "--dry-run")
    assert (taken.returncode, taken.stderr) == (
        2,
        "error: --study: the name 'tables' is a built-in study's; rename the file, or give the study a name "
        "of its own\n",
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--studies", "search"], "a sweep runs one search; search and activation-search are two"),
        (["--set", "lr=0.1"], "--set lr: the search of study activation-search decides it"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], problem: str, here: Command) -> None:
    answer = here(*DIGITS, "--study", str(SEARCH), *arguments)
    assert answer.returncode == 2
    assert problem in answer.stderr
