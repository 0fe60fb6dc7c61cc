"""The winner of a search: proven, recorded as one step, trained again from its file, champion only if surely better."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from PIL import Image

from analysis.predict import app as predict_app
from analysis.predict import load_champion
from analysis.record.mlflow_record import Record
from analysis.record.recorded import WINNER_METRIC
from sweeps.planning.allocate import expected_allocation
from sweeps.planning.prepare import prepare
from sweeps.planning.search_plan import SearchPlan
from sweeps.planning.sweep_plan import SweepPlan, plan_sweep
from sweeps.recording.recorder import Recorder
from sweeps.running.winner import record_winner
from tests.conftest import SWEPT, Command
from tests.options import options
from trainable.config import Config
from trainable.data import load
from trainable.encoded import read_image
from trainable.evaluate import load_model
from trainable.measures import PREDICTED_CLASSES

EXPERIMENT = "ablations-digits"
MODEL = f"{EXPERIMENT}-best-bn"


@pytest.fixture(scope="module")
def folder(swept: Path) -> Path:
    return swept


def record_of(folder: Path) -> Record:
    return Record(f"sqlite:///{folder}/mlflow.db", EXPERIMENT)


def plan_of(folder: Path) -> SweepPlan:
    """What the record in the folder lacks of the search."""
    given: dict[str, Any] = {
        name.strip("-").replace("-", "_"): value for name, value in zip(SWEPT[::2], SWEPT[1::2], strict=True)
    }
    prepared = prepare(options(**given, tracking_uri=f"sqlite:///{folder}/mlflow.db"), dry=True)
    return plan_sweep(prepared, expected_allocation(prepared))


def search_of(folder: Path) -> SearchPlan:
    search = plan_of(folder).search
    assert search is not None
    return search


class Refusing(MlflowClient):
    """A client whose server refuses one write for good: that with this number, counted from 0."""

    def __init__(self, uri: str, refused: int) -> None:
        super().__init__(uri, registry_uri=uri)
        self.writes: list[str] = []
        self.refused = refused

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith(("log_", "set_", "create_", "update_", "delete_")):
            return found

        def write(*arguments: Any, **named: Any) -> Any:
            self.writes.append(name)
            if len(self.writes) - 1 == self.refused:
                raise MlflowException("refused", error_code=INVALID_PARAMETER_VALUE)
            return found(*arguments, **named)

        return write


def record_again(folder: Path, plan: SweepPlan, refused: int = -1) -> tuple[Refusing, str]:
    """Record a plan's winner once more; returns the client and the line on the champion."""
    record, uri = record_of(folder), f"sqlite:///{folder}/mlflow.db"
    client = Refusing(uri, refused=-1)
    recorder = Recorder(client, record.experiment_id or "", name="again", tags={}, params={})
    recorder.flush()
    client.writes.clear()
    client.refused = refused
    assert plan.search is not None
    (proof,) = (table for table in plan.tables.tables if table.measure == PREDICTED_CLASSES)
    line = record_winner(plan.search, proof, record, recorder)
    writes = list(client.writes)
    client.refused = -1
    recorder.finish("FINISHED")
    client.writes[:] = writes
    return client, line


def test_the_winner_is_proven_and_all_of_it_is_recorded(folder: Path) -> None:
    record, plan = record_of(folder), plan_of(folder)
    assert plan.complete
    assert plan.search is not None
    winner = plan.search.winner
    assert winner is not None
    assert (winner.tags["proven_seeds.search"], winner.tags["winner"]) == ("2", "yes")
    proven = [trial for trial in record.trials() if trial.tags["row"].startswith("16/winner")]
    assert sorted(trial.seeds for trial in proven) == [(0,), (1,)]
    assert {trial.config for trial in proven} == {winner.config.change(protocol="A")}
    errors = [trial.metrics["test_error"] for trial in proven]
    assert winner.metrics[WINNER_METRIC] == pytest.approx(sum(errors) / 2)
    compared = [trial for trial in record.trials() if trial.tags["row"].endswith("16/reference")]
    assert {trial.config for trial in compared} == {Config(data="digits", epochs=2, batch_norm=True)}
    raced = [trial for trial in record.trials() if trial.tags["table"] == "search" and trial.seeds != (0,)]
    assert {trial.seeds for trial in raced} >= {(1,), (2,), (3,)}
    (sweep,) = record.sweeps()
    assert {"15", "16"} & {table.number for table in sweep.tables} == {"16"}
    card = Path(record.client.download_artifacts(sweep.run_id, "best_bn_card.md")).read_text()
    assert f"| test error after the last epoch | {sum(errors) / 2:.4f} ±" in card
    assert "| the best of 5 configs on protocol B" in card


class Late:
    """A recorder that makes a write when nobody waits for it any more."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def act(self, write: Callable[[MlflowClient], object]) -> None:
        self.write = write

    def flush(self) -> bool:
        return False


def test_a_winner_that_is_written_late_is_written_whole(folder: Path) -> None:
    record, plan = record_of(folder), plan_of(folder)
    assert plan.search is not None and record.experiment_id is not None
    late = Late(record.client.create_run(record.experiment_id).info.run_id)
    (proof,) = (table for table in plan.tables.tables if table.measure == PREDICTED_CLASSES)
    record_winner(plan.search, proof, record, cast(Recorder, late))
    late.write(record.client)
    files = {file.path for file in record.client.list_artifacts(late.run_id)}
    assert files == {"best_bn.yaml", "best_bn_card.md", "best_bn_model"}
    record.client.delete_run(late.run_id)


def test_the_proof_keeps_what_its_networks_predict(folder: Path) -> None:
    record = record_of(folder)
    proven = [trial for trial in record.trials() if trial.tags["table"].endswith("16")]
    assert len(proven) == 4, "two configs, two seeds"
    for trial in proven:
        arrays, seed = record.arrays(trial, "predictions.safetensors"), f"seed_{trial.seeds[0]}"
        error = (arrays[f"{seed}/classes"] != arrays["labels"]).mean()
        assert error == pytest.approx(trial.metrics["test_error"])
        assert 0 < arrays[f"{seed}/flipped_confidences"].min() <= arrays[f"{seed}/flipped_confidences"].max() <= 1
    unproven = [trial for trial in record.trials() if not trial.tags["table"].endswith("16")]
    assert unproven and not any(trial.has("predictions.safetensors") for trial in unproven)
    files = {file.path for file in record.client.list_artifacts(record.sweeps()[-1].run_id, "report")}
    assert {"report/search-proof-confusion.png", "report/search-proof-reliability.csv"} <= files


def test_the_record_has_what_the_winners_file_trains(folder: Path, here: Command, tmp_path: Path) -> None:
    record = record_of(folder)
    file = record.client.download_artifacts(record.sweeps()[0].run_id, "best_bn.yaml", str(tmp_path))
    assert "Nothing to do" in here("--config", file, "--seeds", "2", folder=folder).stderr


def test_the_champion_classifies_pictures_as_the_network_does_in_plain_torch(folder: Path, tmp_path: Path) -> None:
    digits, record = load("digits"), record_of(folder)
    files = [str(tmp_path / f"{index}.png") for index in range(3)]
    for index, file in enumerate(files):
        Image.fromarray(np.array(digits.test_images[index])).save(file)
    said = predict(folder, *files)
    assert said.returncode == 0, said.stderr
    needs = record.client.download_artifacts(record.sweeps()[0].run_id, "best_bn_model/requirements.txt", str(tmp_path))
    assert f"pydantic=={version('pydantic')}" in Path(needs).read_text().splitlines(), "as it is served later, too"
    proven = next(trial for trial in record.trials() if "16/winner" in trial.tags["row"] and trial.seeds == (0,))
    weights = record.client.download_artifacts(proven.run_id, "model/weights.safetensors", str(tmp_path))
    images = torch.from_numpy(np.array(digits.test_images[:3])).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        probabilities, classes = load_model(proven.config, Path(weights), seed=0)(images).softmax(1).max(1)
    expected = [f"{file}: {label} {probability:.3f}" for file, label, probability in
                zip(files, classes.tolist(), probabilities.tolist(), strict=True)]  # fmt: skip
    assert said.stdout.splitlines() == expected


def predict(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "analysis.predict", "--experiment", EXPERIMENT, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_what_cannot_be_classified_is_one_line(folder: Path, here: Command, tmp_path: Path) -> None:
    small, text = tmp_path / "small.png", tmp_path / "text.png"
    Image.new("RGB", (10, 20)).save(small)
    text.write_text("no picture")
    for file, problem in (
        (small, "the image is 10x20 pixels; expected 32x32"),
        (text, "not a readable image"),
        (tmp_path / "none.png", "No such file"),
    ):
        with pytest.raises(ValueError, match=problem) as raised:
            read_image(str(file), file, size=32)
        assert str(file) in str(raised.value)
    failed = here("--experiment", EXPERIMENT, str(small), app=predict_app, folder=folder)
    assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 1)
    with pytest.raises(LookupError, match="no champion"):
        load_champion("nobody", f"sqlite:///{folder}/mlflow.db")


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's folder without the model, which takes seconds to write."""
    monkeypatch.setattr("sweeps.running.winner.save_model", lambda config, weights, folder: folder.mkdir())


@pytest.mark.usefixtures("small_model")
def test_a_winner_is_done_only_when_its_last_write_is(folder: Path) -> None:
    record, plan = record_of(folder), plan_of(folder)
    assert plan.search is not None and plan.search.winner is not None
    beaten = next(trial.run_id for trial in plan.search.known if trial.key != plan.search.winner.key)

    def mark() -> None:
        for name, value in (("winner", "yes"), ("proven_seeds.search", "2")):
            record.client.set_tag(beaten, name, value)

    mark()
    client, _ = record_again(folder, plan_of(folder))
    assert client.writes[-1] == "set_tag" and client.writes.count("delete_tag") == 2
    for refused, write in enumerate(client.writes):
        if write == "create_registered_model":
            continue  # the model is there, so that the server refuses this every time
        record.client.delete_tag(plan.search.winner.run_id, plan.search.proven_tag)
        mark()
        record_again(folder, plan_of(folder), refused)
        assert not search_of(folder).complete, f"write {refused}, {write}, was refused"
        record_again(folder, plan_of(folder))
        assert search_of(folder).complete
        assert not {"winner", "proven_seeds.search"} & record.client.get_run(beaten).data.tags.keys()
    (only,) = record.client.search_model_versions(f"name = '{MODEL}'")
    assert record.client.get_model_version_by_alias(MODEL, "champion").version == only.version


@pytest.mark.usefixtures("small_model")
def test_what_had_won_this_search_loses_its_marks_and_what_has_won_another_keeps_its_own(folder: Path) -> None:
    record, plan = record_of(folder), plan_of(folder)
    assert plan.search is not None and plan.search.winner is not None
    here, both, *_ = (trial.run_id for trial in plan.search.known if trial.key != plan.search.winner.key)
    for run_id in (here, both):
        record.client.set_tag(run_id, "winner", "yes")
        record.client.set_tag(run_id, "proven_seeds.search", "2")
    record.client.set_tag(both, "proven_seeds.another", "2")
    record_again(folder, plan_of(folder))
    marks = ("winner", "proven_seeds.search", "proven_seeds.another")
    tags = {run_id: record.client.get_run(run_id).data.tags for run_id in (here, both)}
    assert [[mark in tags[run_id] for mark in marks] for run_id in (here, both)] == [
        [False, False, False],
        [True, False, True],
    ]
    for mark in ("winner", "proven_seeds.another"):
        record.client.delete_tag(both, mark)


@pytest.mark.usefixtures("small_model")
def test_only_a_surely_better_model_becomes_champion(folder: Path) -> None:
    record = record_of(folder)
    client, winner = record.client, search_of(folder).winner
    races = {seed: error for trial in record.trials() if trial.key == winner.key
             for seed, error in trial.last_by_seed("val_error").items() if seed}  # fmt: skip
    champion = client.create_model_version(MODEL, "runs:/elsewhere", tags={"search_key": "other"})
    tagged = f"tags.champion = '{MODEL}'"
    (first,) = client.search_runs([record.experiment_id], tagged)
    assert first.data.tags["row"].startswith("16/winner")
    surely, nearly, worse = [0.40, 0.42, 0.44], [0.10, 0.50, 0.30], [-0.02, -0.01, -0.03]
    for shifts, moves in ((surely, True), (nearly, False), (worse, False)):  # nearly: p is .06
        client.set_registered_model_alias(MODEL, "champion", champion.version)
        champions = {seed: races[seed] + shift for seed, shift in enumerate(shifts, start=1)}
        write_race(client, record.experiment_id, {0: -9.0, **champions})  # the search's own seed does not count
        _, line = record_again(folder, plan_of(folder))
        holder = client.get_model_version_by_alias(MODEL, "champion").version
        assert (holder != champion.version) is moves, line
        assert ("is the new champion" if moves else f"version {champion.version} stays the champion") in line
        assert [run_.info.run_id for run_ in client.search_runs([record.experiment_id], tagged)] == [first.info.run_id]


def write_race(client: MlflowClient, experiment: str | None, errors: dict[int, float]) -> None:
    """The race of the config with the key `other`, in place of an earlier one."""
    for run_ in client.search_runs([experiment], "tags.key = 'other'"):
        client.delete_run(run_.info.run_id)
    tags = {"role": "trial", "key": "other", "config": '{"data": "digits"}', "seeds": json.dumps(list(errors)),
            "outcome": "complete", "mlflow.parentRunId": "none", "row": "", "table": ""}  # fmt: skip
    run_id = client.create_run(experiment, tags=tags, run_name="other").info.run_id
    for seed, error in errors.items():
        client.log_metric(run_id, f"val_error/seed_{seed}", error)
    client.set_terminated(run_id)
