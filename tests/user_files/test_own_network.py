"""A network of one's own: its text is part of the config; it is tried before anything starts; readers never run it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import save_file

from analysis.predict import load_champion
from analysis.record.exported_record import ExportedRecord, artifacts_folders, write_sweep
from analysis.record.mlflow_record import Record
from analysis.record.recorded import RunStatus, SweepRecord
from analysis.record.trial_tags import written_tags
from analysis.report import write_report
from analysis.report_data import ReportData
from analysis.writing.config_text import config_text
from sweeps.studies.config_file import read_config
from sweeps.studies.proof import proof_study
from tests.analysis_records import resolved_row, search
from tests.conftest import ONE_SLOT, Command
from tests.exports import ARRAYS, assert_usable, import_into, make_trial
from tests.own_data import SHAPES, write_shapes
from tests.own_networks import ARGUMENTS, BASELINE, FILE, NETWORK, SEARCH, write_study
from tests.specs import trial_spec
from trainable.change import combine
from trainable.config import MOST_CHARACTERS, Config
from trainable.data import Dataset, find, load
from trainable.landscape import Evaluator, directions, moved
from trainable.model import build
from trainable.optim import parameter_groups
from trainable.own_code.code_file import CodeFile, SourceFile
from trainable.problem import first_problem
from trainable.search_space import Range
from trainable.study import ResolvedTable, Study
from trainable.training import Trainer, train

DIGITS = ("--data", "digits", "--epochs", "1")


def config(**changes: Any) -> Config:
    given = {"network": FILE, "network_arguments": ARGUMENTS, "batch_size": 256, "epochs": 2, "data": "digits"}
    return Config(**given | changes)


@pytest.mark.filterwarnings("error")
def test_the_text_and_the_arguments_are_the_identity() -> None:
    own = config()
    assert own == config(network_arguments={"pieces": 2, "width": 2}) == Config(**json.loads(own.model_dump_json()))
    assert len({own, config(network_arguments={"pieces": 2, "width": 2})}) == 1
    others = [
        config(network_arguments=ARGUMENTS | {"width": 3}),
        config(network=CodeFile(file="net.py", code=NETWORK + "\n")),
    ]
    assert len({each.key("f") for each in (own, *others)}) == 3
    assert str(FILE).startswith("net.py ") and NETWORK not in own.text(own.canonical())


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"batch_norm": True}, "batch_norm: true has no effect here; it is allowed only where network is cnn or vgg-a"),
        (
            {"network": "cnn"},
            "network_arguments: width=2, pieces=2 has no effect here; it is allowed only where network is a",
        ),
        (
            {"network_arguments": {"width": float("nan")}},
            "network_arguments width: nan should be a finite number, a text",
        ),
        ({"network_arguments": {"width": None}}, "network_arguments width: None should be a finite number, a text"),
        ({"network_arguments": {"a b": 1}}, "network_arguments 'a b' should be the name of an argument"),
        ({"network_arguments": {"kind": "a\nb"}}, "must be one line of printable characters"),
        ({"network": "resnet"}, "network 'resnet': should be cnn, vgg-a, or a Python file whose name ends in .py"),
        ({"network": {"file": "../net.py", "code": ""}}, "network of one's own: file '../net.py': String should match"),
        ({"network": FILE.model_copy(update={"code": "#" * MOST_CHARACTERS})}, "characters as JSON; allowed: 64,000"),
    ],
)
def test_a_config_refuses_what_means_nothing(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        config(**fields)
    assert problem in str(first_problem(refused.value, Config))


def test_numbers_and_truths_are_not_the_same_argument() -> None:
    keys = {config(network_arguments={"width": width, "pieces": 1}).key("f") for width in (1, 1.0, True)}
    configs = {config(network_arguments={"width": width, "pieces": 1}) for width in (1, 1.0, True)}
    assert len(keys) == len(configs) == 3


def test_a_shared_parameter_is_stepped_once_and_moved_everywhere() -> None:
    tied = NETWORK.replace(
        "\n    def forward", "\n        self.rest[1].weight = self.rest[0].weight\n\n    def forward"
    )
    own = config(network=CodeFile(file="net.py", code=tied))
    network = build(own)
    ((group,),) = [[each["params"]] for each in parameter_groups(own, network)]
    assert len(group) == len(set(group)) == len(list(network.parameters()))
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    evaluator = Evaluator(own, load("digits"), images=50)
    there = moved(weights, directions(evaluator.parameters_of(weights), seed=0), (0.5, 0.5))
    assert not np.allclose(there["rest.1.weight"], weights["rest.1.weight"])


def test_a_parameter_may_rest_in_some_steps(digits: Dataset) -> None:
    skipping = NETWORK.replace("for piece in self.rest)", "for piece in self.rest[: 1 + (not self.training)])")
    (epoch,) = train(config(network=CodeFile(file="net.py", code=skipping), epochs=1), digits)
    assert epoch.mean("train_loss") > 0


def test_the_text_of_a_config_is_read_as_it_was_written(tmp_path: Path) -> None:
    own = config(network_arguments=ARGUMENTS | {"kind": "1e-3", "sizes": [1, 2]})
    (tmp_path / "x.yaml").write_text(config_text("x", own, "A winner."))
    assert "code: |\n" in (tmp_path / "x.yaml").read_text()
    assert Config(**read_config(tmp_path / "x.yaml").tables[0].rows[0].change) == own


def test_a_network_of_ones_own_is_taken_back_with_what_belongs_to_it() -> None:
    """Beside a built-in network, whose fields mean nothing in it."""
    own, cnn = config(), Config(batch_norm=True, bn_momentum=0.2, dropout=0.1, data="digits", batch_size=256, epochs=2)
    study = Study(name="own", title="own", search={"space": {"lr": {"low": 0.1, "high": 0.2}}})
    for winner, compared in ((own, cnn), (cnn, own)):
        rows = proof_study(study, compared, winner, 1, 1).tables[1].rows
        assert rows[0].name == "winner" and len(rows) == 2
        assert Config(**rows[1].change).network == compared.network


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
    drawing = CodeFile(file="net.py", code=NETWORK + "\nimport torch\ntorch.rand(3)\n")
    states = []
    for network in (FILE, drawing):
        torch.manual_seed(0)
        states.append(build(config(network=network)).state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_a_surface_moves_parameters_alone() -> None:
    code = NETWORK.replace(
        "super().__init__()", "super().__init__(); self.register_buffer('table', T.ones(2, 2).int())"
    )
    own = config(network=CodeFile(file="net.py", code="import torch as T\n" + code))
    weights = {name: tensor.numpy() for name, tensor in build(own).state_dict().items()}
    evaluator = Evaluator(own, load("digits"), images=50)
    there = moved(weights, directions(evaluator.parameters_of(weights), seed=0), (0.5, 0.5))
    assert np.array_equal(there["table"], weights["table"])
    assert not np.allclose(there["first.weight"], weights["first.weight"])
    assert evaluator.loss_and_error(there) != evaluator.loss_and_error(weights)


def test_options_change_a_studys_own_baseline(here: Command, tmp_path: Path) -> None:
    study = BASELINE.replace("batch_size: 256", "channels: [8, 9]").replace("network: net.py", "optimizer: momentum")
    study = study.replace("network_arguments: {width: 2, pieces: 1}", "lr: 0.1")
    searched = "search: {space: {'channels[0]': {low: 4, high: 5}}}\n"
    write_study(tmp_path, study + searched)
    plain = (*DIGITS, "--study", "own.yaml", "--dry-run", "--json")
    assert here(*plain, "--set", "momentum=0.5").returncode == 0, "its baseline has an optimizer with momentum"
    calibrated = json.loads(here(*plain, "--calibrate", "3").stdout)["configs"]
    assert {each["config"]["channels"][1] for each in calibrated} == {9}
    write_study(tmp_path, BASELINE + SEARCH)
    changed = here(*plain, "--set", 'network_arguments={"pieces": 2}', "--calibrate", "3")
    arguments = [each["config"]["network_arguments"] for each in json.loads(changed.stdout)["configs"]]
    assert {each["pieces"] for each in arguments} == {2} and {each["width"] for each in arguments} <= {4, 5}
    write_study(tmp_path, BASELINE + SEARCH + "  fixed: {network_arguments: {pieces: 2}}\n")
    assert here(*plain).returncode == 0
    for argument in ("width", "pieces"):
        refused = here(*plain, "--set", f'network_arguments={{"{argument}": 2}}')
        assert "--set network_arguments: the search of study own decides it" in refused.stderr


def test_an_option_names_one_for_every_row(here: Command, tmp_path: Path) -> None:
    write_study(tmp_path, network="print('a file that prints')\n" + NETWORK)
    arguments = ["--set", "network=net.py", "--set", 'network_arguments={"width": 2, "pieces": 1}']
    planned = here(*DIGITS, "--only", "6", *arguments, "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    assert {each["config"]["network"]["file"] for each in json.loads(planned.stdout)["configs"]} == {"net.py"}
    assert "network none.py: cannot be read" in here("--set", "network=none.py", "--dry-run").stderr


@pytest.mark.sweeps
@pytest.mark.usefixtures("made_record")
def test_a_search_of_ones_own_tries_its_whole_space_proves_a_winner_and_serves_it(
    sweep: Command, here: Command, tmp_path: Path
) -> None:
    """On data of one's own, with a condition and with an argument of the network in the space: six configs in all."""
    data = write_shapes(tmp_path / "shapes", size=30)
    network = NETWORK.replace("width * 64, 10", f"width * 49, {len(SHAPES)}")
    file = write_study(tmp_path / "study", BASELINE.replace("256", "32") + SEARCH, network)
    where = ("--data", "shapes", "--data-dir", str(data), "--epochs", "1")
    arguments = (*where, "--study", str(file), "--samples", "9", "--proof-seeds", "1", *ONE_SLOT)
    done = sweep(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Best config of the search: own-0" in done.stdout
    assert "network net.py" in done.stdout and network not in done.stdout
    other = tmp_path / "study" / "other.yaml"
    other.write_text(file.read_text())
    refused = here(*where, "--study", str(other), "--dry-run").stderr
    assert refused.startswith("error: table number '31' belongs to study own-proof in this record; give yours")

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    record = Record(uri, "ablations-shapes")
    searched = [trial.config for trial in record.trials() if trial.config.protocol == "B" and trial.seeds == (0,)]
    assert sorted((config.optimizer, config.lr, str(config.network_arguments)) for config in searched) == [
        ("adam", 0.001, "width=4, pieces=1"), ("adam", 0.001, "width=5, pieces=1"),
        ("adam", 0.002, "width=4, pieces=1"), ("adam", 0.002, "width=5, pieces=1"),
        ("momentum", 0.001, "width=4, pieces=1"), ("momentum", 0.001, "width=5, pieces=1"),
    ]  # fmt: skip
    (recorded,) = record.sweeps()
    (found,) = recorded.searches
    assert set(found.space) == {"optimizer", "adam_lr", "network_arguments[width]"}
    assert recorded.study_file is not None and recorded.study_file.text == file.read_text()

    params = record.client.search_runs(["1"], "tags.`mlflow.runName` = 'own-proof-winner'")[0].data.params
    assert params["data"] == "shapes"
    assert params["network"].startswith("net.py ") and params["network.width"] in ("4", "5")
    model, of_model = load_champion("ablations-shapes-best-own", uri)
    assert of_model == find("shapes", data)
    assert model.predict(np.zeros((2, 30, 30, 3), np.uint8)).shape == (2, 3)
    (version,) = record.client.search_model_versions("name = 'ablations-shapes-best-own'")
    for part in ("network net.py", "images of shapes", "(N, 30, 30, 3)", "hook, line, ring"):
        assert part in version.description

    page = Path(record.client.download_artifacts(recorded.run_id, "report/README.md")).read_text()
    assert "0.001, 0.002" in page and "adam, momentum" in page
    assert "Nothing to do" in here(*arguments).stderr
    (file.parent / "net.py").write_text(network + "# an edit\n")
    edited = json.loads(here(*arguments, "--dry-run", "--json").stdout)
    assert (edited["to_run"], edited["search"]["to_run"]) == (1, 6), "another text is another network"
    assert edited["of_other_images"] == 0
    assert edited["of_other_code"] == {"net.py": sum(trial.complete for trial in record.trials())}
    next((data / "train" / "ring").iterdir()).unlink()
    recorded_before = sum(trial.complete for trial in record.trials())
    assert json.loads(here(*arguments, "--dry-run", "--json").stdout)["of_other_images"] == recorded_before


def test_readers_of_a_record_never_run_it(
    record_uri: str, here: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ran = tmp_path / "ran"
    code = NETWORK.replace("    return Net", f"    open({str(ran)!r}, 'w').close()\n    return Net")
    beside = SourceFile(file="long.py", code="#" * 20_000)
    own = config(network=CodeFile(file="net.py", code=code, imports=(beside,)))
    row, known = resolved_row("own", own), make_trial(0)
    trial = replace(known, key=row.key, config=own, tags=known.tags | written_tags(trial_spec(own, tmp_path, "abc")))
    table = ResolvedTable(study="own", number="44", slug="x", title="x", varies="x", rows=(row,), reference=row.key)
    searched = search({"lr": Range(low=1e-3, high=1e-2)}, base=own.change(protocol="B"))
    recorded = SweepRecord("sweep0", "a sweep", 999, RunStatus.FINISHED, {"role": "sweep"}, {}, (table,), (searched,))
    assert write_sweep(tmp_path / "record", recorded, [trial])
    arrays = tmp_path / "record" / artifacts_folders([recorded], [trial])[trial.run_id] / "model"
    arrays.mkdir(parents=True)
    save_file({"step_losses/seed_0": np.ones(8)}, arrays / ARRAYS)
    assert import_into(record_uri, tmp_path / "record", "own") == ""
    assert_usable(record_uri, "own", caplog)
    assert [trial.config for trial in Record(record_uri, "own").trials()] == [own], "longer than a tag may be"
    page = write_report(ReportData(ExportedRecord(tmp_path / "record"), tmp_path / "report"))
    assert "net.py" in page.read_text() and not ran.exists()
    study, where = write_study(tmp_path / "study"), ("--tracking-uri", record_uri, "--experiment", "own")
    planned = here(*DIGITS, "--study", str(study), *where, "--dry-run")
    assert (
        "not counted, because they used another version of net.py: 1 recorded trial" in planned.stdout
        and not ran.exists()
    )
    build(own)
    assert ran.exists(), "and this does"
