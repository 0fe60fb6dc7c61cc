"""A network of one's own: its text is part of the config; it is tried before anything starts; readers never run it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from pydantic import ValidationError

from analysis import report
from analysis.predict import load_champion
from analysis.record.mlflow_record import Record
from sweeps import transfer
from tests.conftest import Command
from tests.own_networks import NETWORK, SEARCH, STUDY, write_study
from trainable.config import Config
from trainable.data import Dataset, load
from trainable.landscape import Evaluator, directions, moved
from trainable.model import build
from trainable.network_file import MOST_CHARACTERS, NetworkFile, combine
from trainable.training import Trainer

DIGITS = ("--data", "digits", "--epochs", "1")
FILE = NetworkFile(file="net.py", code=NETWORK)
ARGUMENTS = {"width": 2, "pieces": 2}


def config(**changes: Any) -> Config:
    given = {"network": FILE, "network_arguments": ARGUMENTS, "batch_size": 256, "epochs": 2, "data": "digits"}
    return Config(**given | changes)


def test_the_text_and_the_arguments_are_the_identity() -> None:
    own = config()
    assert own == config(network_arguments={"pieces": 2, "width": 2}) == Config(**json.loads(own.model_dump_json()))
    assert len({own, config(network_arguments={"pieces": 2, "width": 2})}) == 1
    others = [
        config(network_arguments=ARGUMENTS | {"width": 3}),
        config(network=NetworkFile(file="net.py", code=NETWORK + "\n")),
    ]
    assert len({each.key("f") for each in (own, *others)}) == 3
    assert str(FILE).startswith("net.py ") and NETWORK not in own.text(own.canonical())


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"batch_norm": True}, "batch_norm: True has no effect here; it is allowed only where network is cnn or vgg-a"),
        (
            {"network": "cnn"},
            "network_arguments: width=2, pieces=2 has no effect here; it is allowed only where network",
        ),
        ({"network_arguments": {"width": float("nan")}}, "finite number"),
        ({"network": "resnet"}, "'cnn' or 'vgg-a'"),
        ({"network": {"file": "../net.py", "code": ""}}, "should match pattern"),
        ({"network": {"file": "net.py", "code": "#" * MOST_CHARACTERS}}, "6,002 characters as JSON; allowed: 6,000"),
    ],
)
def test_a_config_refuses_what_means_nothing(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        config(**fields)


def test_arguments_are_added_to_those_before_unless_the_network_changes() -> None:
    base = {"network": FILE, "network_arguments": {"width": 2, "pieces": 1}, "lr": 0.1}
    assert combine(base, {"network_arguments": {"pieces": 3}})["network_arguments"] == {"width": 2, "pieces": 3}
    assert Config(**combine(base, {"network": "cnn"})) == Config(lr=0.1)


def test_it_trains_for_each_seed_alone_and_resumes_exactly(digits: Dataset) -> None:
    whole, half = Trainer(config(), digits, (0, 1)), Trainer(config(), digits, (0, 1))
    for trainer in (whole, whole, half):
        trainer.run_epoch()
    resumed = Trainer(config(), digits, (0, 1))
    resumed.load_state_dict(half.state_dict())
    assert resumed.run_epoch().metrics == whole.history[-1].metrics
    alone = Trainer(config(), digits, (1,))
    alone.run_epoch()
    assert alone.history[0].metrics["train_loss"] == whole.history[0].metrics["train_loss"][1:]
    assert whole.history[1].mean("train_loss") < whole.history[0].mean("train_loss")
    assert whole.history[0].metrics["train_loss"][0] != whole.history[0].metrics["train_loss"][1]


def test_random_numbers_of_the_file_itself_change_nothing() -> None:
    drawing = NetworkFile(file="net.py", code=NETWORK + "\nimport torch\ntorch.rand(3)\n")
    states = []
    for network in (FILE, drawing):
        torch.manual_seed(0)
        states.append(build(config(network=network)).state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_a_surface_moves_parameters_alone() -> None:
    code = NETWORK.replace(
        "super().__init__()", "super().__init__(); self.register_buffer('table', T.ones(2, 2).int())"
    )
    own = config(network=NetworkFile(file="net.py", code="import torch as T\n" + code))
    weights = {name: tensor.numpy() for name, tensor in build(own).state_dict().items()}
    evaluator = Evaluator(own, load("digits"), images=50)
    there = moved(weights, directions(evaluator.parameters_of(weights), seed=0), (0.5, 0.5))
    assert np.array_equal(there["table"], weights["table"])
    assert not np.allclose(there["first.weight"], weights["first.weight"])
    assert evaluator.loss_and_error(there) != evaluator.loss_and_error(weights)


BROKEN = [
    ("def build(width, pieces): return 3", "build must return a torch.nn.Module, and returned int"),
    ("x = 1", "must define a function build"),
    ("import nonsense", "line 1: ModuleNotFoundError: No module named 'nonsense'"),
    ("def build(:", "SyntaxError"),
    ("raise SystemExit", "line 1: SystemExit"),
    (
        "def build(width): pass",
        "build(width=2, pieces=1): TypeError: build() got an unexpected keyword argument 'pieces'",
    ),
    (NETWORK.replace("build(width, pieces)", "build(width, pieces=1)"), "build(pieces=1): remove the default"),
    (NETWORK.replace("width * 64", "width"), "on images (2, 3, 32, 32): line 14: RuntimeError: addmm: mat1"),
    (NETWORK.replace(", 10)", ", 9)"), "it must return scores (2, 10), and returned a tensor (2, 9)"),
    (NETWORK.replace("in self.rest)", "in self.rest).detach()"), "the scores must depend on all of its parameters"),
    (NETWORK.replace("self.rest =", "self.idle = nn.Linear(2, 2)\n        self.rest ="), "must depend on all of its"),
    ("#" * MOST_CHARACTERS, "characters as JSON; allowed: 6,000"),
]


@pytest.mark.parametrize(("code", "problem"), BROKEN)
def test_a_broken_network_is_one_line_and_starts_nothing(
    code: str, problem: str, here: Command, tmp_path: Path
) -> None:
    write_study(tmp_path, network=code)
    answer = here(*DIGITS, "--study", "own.yaml")
    assert (answer.returncode, answer.stdout, len(answer.stderr.splitlines())) == (2, "", 1), answer.stderr
    assert answer.stderr.startswith("error: ") and "net.py" in answer.stderr and problem in answer.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.py", "own.yaml"], "nothing was started or written"


@pytest.mark.parametrize(
    ("study", "problem"),
    [
        (STUDY.replace("net.py", "none.py"), "own.yaml, line 2, baseline: network none.py: cannot be read"),
        (STUDY.replace("batch_size: 256", "epochs: 3"), "baseline: epochs: the sweep's option --epochs decides it"),
        (STUDY.replace("batch_size: 256", "lr: fast"), "line 5, baseline.lr: 'fast' should be a valid number"),
        ("baseline: {network: net.py}\n" + SEARCH, "build(width=3): TypeError: build() missing 1 required"),
        (
            SEARCH.replace("[width]", ""),
            "network_arguments is unknown (did you mean network_arguments[NAME]?); allowed: data",
        ),
    ],
)
def test_a_study_with_a_mistake_is_one_line(study: str, problem: str, here: Command, tmp_path: Path) -> None:
    write_study(tmp_path, study)
    answer = here(*DIGITS, "--study", "own.yaml", "--dry-run")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert problem in answer.stderr


def test_an_option_names_one_for_every_row(here: Command, tmp_path: Path) -> None:
    write_study(tmp_path)
    arguments = ["--set", "network=net.py", "--set", 'network_arguments={"width": 2, "pieces": 1}']
    planned = here(*DIGITS, "--only", "6", *arguments, "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    assert {each["config"]["network"]["file"] for each in json.loads(planned.stdout)["configs"]} == {"net.py"}
    assert "network none.py: cannot be read" in here("--set", "network=none.py", "--dry-run").stderr


@pytest.mark.usefixtures("made_record")
def test_a_sweep_trains_searches_proves_and_serves_it_and_readers_never_run_it(
    sweep: Command, here: Command, tmp_path: Path
) -> None:
    """`build` leaves a mark."""
    ran = tmp_path / "ran"
    marking = NETWORK.replace("    return Net", f"    open({str(ran)!r}, 'w').close()\n    return Net")
    file = write_study(tmp_path / "study", STUDY + SEARCH, marking)
    arguments = (*DIGITS, "--study", str(file), "--samples", "2", "--proof-seeds", "2", "--seeds", "2")
    done = sweep(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Nothing to do" in sweep(*arguments).stderr
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    trials = Record(uri, "ablations-digits").trials()
    assert all(trial.config.has_own_network for trial in trials)
    (params,) = {
        tuple((name, run.data.params[name]) for name in ("network", "network_arguments.width"))
        for run in MlflowClient(uri).search_runs(["1"], "tags.`mlflow.runName` = 'pieces-one'")
    }
    assert params[0][1].startswith("net.py ") and params[1][1] == "2"
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert load_champion("ablations-digits-best-own", uri)[0].predict(images).shape == (2, 10)

    ran.unlink()
    own = ("--tracking-uri", uri, "--experiment", "ablations-digits")
    assert here("export", "record", *own, app=transfer.app).returncode == 0
    there = ("--tracking-uri", f"sqlite:///{tmp_path}/new.db", "--experiment", "copy")
    assert here("import", "record", *there, app=transfer.app).returncode == 0
    assert here("report", *own, app=report.app).returncode == 0
    assert here("report2", "--folder", "record", app=report.app).returncode == 0
    assert here(*DIGITS, "--only", "7", "--dry-run").returncode == 0, "its forecast learns from all recorded trials"
    assert not ran.exists(), "the network's file was run by something that only reads"

    (file.parent / "net.py").write_text(NETWORK)
    plan = json.loads(here(*arguments, "--dry-run", "--json").stdout)
    assert plan["to_run"] > 0 and plan["recorded"] == 0, "another text is another network"
