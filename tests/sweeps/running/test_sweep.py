"""A sweep for real: local Ray, real MLflow, its record, its repetition, its extension, its journey."""

import json
import re
import subprocess
from functools import partial
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient
from safetensors.numpy import load_file

from analysis.record.exported_record import read_folder
from analysis.record.mlflow_record import Record
from benchmarks.machine import sweep_command
from sweeps.transfer import app
from tests.conftest import ONE_SLOT, SWEPT, Command
from tests.images import kernel_images
from trainable.config import Config
from trainable.data import load

pytestmark = pytest.mark.timeout(600)  # the first test waits for a sweep
EXPERIMENT = "ablations-digits"
SAMPLES = [f"search-00{number}" for number in range(1, 6)]


@pytest.fixture(scope="module")
def folder(swept: Path) -> Path:
    return swept


@pytest.fixture(scope="module")
def record(folder: Path) -> Record:
    return Record(uri(folder), EXPERIMENT)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        sweep_command(*arguments), cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )


def uri(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def transfer(here: Command) -> Command:
    return partial(here, app=app)


def test_it_ends_with_the_tables_and_where_the_record_is(folder: Path) -> None:
    output = (folder / "output.txt").read_text()
    assert "Table 7. Batch normalisation (digits)" in output
    assert "Best config of the search" in output
    assert re.search(r"mlflow ui --backend-store-uri sqlite:////.+/swept/mlflow.db\n", output)
    assert "reported" not in output, "the report's figures are CIFAR-10's"
    assert "missing" not in output


def test_it_says_how_to_watch_it(folder: Path, record: Record) -> None:
    said = re.search(r"to watch it: python -m analysis.live (.*)", (folder / "progress.txt").read_text())
    assert said
    shown = rf"--tracking-uri sqlite:///\S+/mlflow.db --experiment {EXPERIMENT} --sweep {record.sweeps()[0].name}"
    assert re.fullmatch(shown, said[1])


def test_nobody_to_tell_is_one_line(folder: Path) -> None:
    """And the sweep goes on: the other tests look at its record."""
    progress = (folder / "progress.txt").read_text()
    lines = [line for line in progress.splitlines() if "--notify" in line]
    (line,) = lines
    undelivered = re.search(r" (\d+) of \1 messages were not delivered: ConnectionError$", line)
    assert undelivered and int(undelivered[1]) >= 2, "of the end, and of a best trial at least"
    assert "T0KEN" not in progress + (folder / "output.txt").read_text()


def test_the_record_has_a_parent_and_a_child_for_every_trial(record: Record) -> None:
    (sweep,) = record.sweeps()
    trials = record.trials()
    assert sweep.status == "FINISHED"
    assert {trial.sweep for trial in trials} == {sweep.run_id}
    origin = record.origin(sweep)
    assert f"torch=={sweep.tags['torch']}" in origin["packages.txt"].splitlines()
    assert ("changes.diff" in origin) == sweep.tags["git_commit"].endswith("-dirty")
    tables = [trial for trial in trials if trial.tags["study"].startswith("tables")]
    assert sorted({trial.name for trial in tables}) == [
        "baseline", "batch-norm-yes", "optimizer-Adagrad", "optimizer-Momentum", "optimizer-SGD",
    ]  # fmt: skip
    assert len(tables) == 10
    (proven,) = {row.key for table in sweep.tables for row in table.rows} - {trial.key for trial in tables}
    assert [trial.key for trial in trials if trial.tags["study"] == "search-proof"] == 2 * [proven], "the winner"
    assert sorted(t.name for t in trials if t.tags["study"] == "search" and t.seeds == (0,)) == SAMPLES
    baseline = next(trial for trial in tables if trial.name == "baseline")
    assert baseline.tags["table"] == "6, 7"
    assert baseline.tags["row"] == "6/Adam, 7/no"
    assert baseline.key == Config(data="digits", epochs=2).key(load("digits").fingerprint)
    for tag in ("data", "data_fingerprint", "git_commit", "torch", "ray", "device", "device_name", "host"):
        assert baseline.tags[tag]


def test_metrics_have_every_epoch_the_mean_and_each_seed(record: Record) -> None:
    baseline = next(trial for trial in record.trials() if trial.name == "baseline")
    metrics, (seed,) = record.with_histories([baseline])[0].histories, baseline.seeds
    for name in ("train_loss", "train_error", "test_error", f"per_seed/train_error_{seed}"):
        assert [step for step, _ in metrics[name]] == [1, 2]
    assert metrics["test_error"] == metrics[f"per_seed/test_error_{seed}"]
    assert metrics["best_test_error"][-1][1] == min(value for _, value in metrics["test_error"])
    searched = next(trial for trial in record.trials() if trial.name == "search-001")
    assert "val_error" in searched.metrics
    assert (searched.config.optimizer, searched.config.lr) == ("adamw", 1e-3), "it starts from the report's own rate"
    assert searched.tags["reference"] == "yes"
    assert "test_error" not in searched.metrics, "protocol B leaves the test split alone"


def test_parameters_are_flat(record: Record) -> None:
    adagrad = next(trial for trial in record.trials() if trial.name == "optimizer-Adagrad")
    params = record.client.get_run(adagrad.run_id).data.params
    assert (params["optimizer"], params["lr"], params["data"]) == ("adagrad", "0.01", "digits")


def test_weights_traces_and_kernel_images_are_kept(record: Record) -> None:
    trial = next(trial for trial in record.trials() if trial.name == "batch-norm-yes")
    seed = f"seed_{trial.seeds[0]}"
    weights = load_file(record.client.download_artifacts(trial.run_id, "model/weights.safetensors"))
    assert weights[f"{seed}/conv1.weight"].shape == (16, 3, 3, 3)
    traces = load_file(record.client.download_artifacts(trial.run_id, "model/traces.safetensors"))
    assert traces[f"step_losses/{seed}"].shape == (2 * 12,)
    assert np.array_equal(traces["kernels/epoch_2"], weights[f"{seed}/conv1.weight"])
    correct = load_file(record.client.download_artifacts(trial.run_id, "model/correct.safetensors"))
    wrong = 1 - np.unpackbits(correct[seed], count=359)
    assert wrong.mean() == pytest.approx(trial.metrics["test_error"])
    assert kernel_images(record, trial) == [("kernels", 0), ("kernels", 1), ("kernels", 2), ("trained_kernels", 0)]


def test_the_winners_model_is_served(record: Record, folder: Path) -> None:
    proven = next(trial for trial in record.trials() if trial.tags["row"] == "16/winner" and trial.seeds == (0,))
    client = MlflowClient(uri(folder), registry_uri=uri(folder))
    model = mlflow.pyfunc.load_model(client.get_model_version_download_uri(f"{EXPERIMENT}-best-bn", "1"))
    digits = load("digits")
    scores = model.predict(np.array(digits.test_images))
    assert scores.shape == (359, 10)
    assert (scores.argmax(1) != digits.test_labels).mean() == pytest.approx(proven.metrics["test_error"])


def test_nothing_is_left_in_the_storage(folder: Path) -> None:
    trials = folder / "store" / EXPERIMENT / "trials"
    assert list(trials.iterdir()) == [], "neither of what is done nor of what ASHA stopped"


def test_again_does_nothing(folder: Path, record: Record, here: Command) -> None:
    again = here(*SWEPT, folder=folder)
    assert again.returncode == 0
    assert "Nothing to do" in again.stderr
    assert "--notify http://127.0.0.1: 1 of 1 messages were not delivered" in again.stderr, "its end is told, too"
    assert "Table 7. Batch normalisation (digits)" in again.stdout
    assert len(record.sweeps()) == 1
    plan = json.loads(here(*SWEPT, "--dry-run", "--json", folder=folder).stdout)
    assert (plan["recorded"], plan["to_run"], plan["search"]["to_run"]) == (6, 0, 0)


@pytest.mark.sweeps
def test_the_record_travels_and_the_sweep_goes_on_elsewhere(
    folder: Path, record: Record, transfer: Command, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    done = transfer("export", str(away / "files"), "--experiment", EXPERIMENT, "--models", folder=folder)
    assert done.returncode == 0, done.stderr
    sweeps, trials = read_folder(away / "files")
    assert (len(sweeps), len(trials)) == (1, len(record.trials()))
    for _ in range(2):  # the second import finds everything there
        done = transfer("import", str(away / "files"), "--experiment", EXPERIMENT, folder=away)
        assert done.returncode == 0, done.stderr
    assert f"0 trials imported, {len(trials)} were there already" in done.stdout
    assert f"Look at it: mlflow ui --backend-store-uri sqlite:///{away}/mlflow.db\n  and open http" in done.stdout
    there = Record(uri(away), EXPERIMENT)
    ours, theirs = ({t.key: t.histories for t in each.with_histories(each.trials())} for each in (record, there))
    assert ours == theirs
    assert [t.start_time for t in record.trials()] == [t.start_time for t in there.trials()], (
        "what is first stays first"
    )
    name = next(trial for trial in there.trials() if trial.name == "baseline").run_id
    assert MlflowClient(uri(away)).download_artifacts(name, "model/weights.safetensors")
    assert "the winner is its first champion" in run(away, *SWEPT).stderr, "a registered model does not travel"
    assert len(there.trials()) == len(trials), "nothing is trained again"
    client = MlflowClient(uri(away), registry_uri=uri(away))
    assert client.get_model_version_by_alias(f"{EXPERIMENT}-best-bn", "champion")


def test_bad_transfers_are_one_line(transfer: Command) -> None:
    for arguments in (["import", "nowhere"], ["export", "out"]):
        failed = transfer(*arguments)
        assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 1)


@pytest.mark.sweeps
def test_more_seeds_and_samples_extend_the_record(folder: Path, record: Record) -> None:
    """Last, because it changes the record that the tests above read."""
    before = {trial.run_id for trial in record.trials()}
    extend = ["--data", "digits", "--studies", "tables,search", "--only", "7", "--epochs", "2", *ONE_SLOT]
    done = run(folder, *extend, "--samples", "6", "--seeds", "3", "--proof-seeds", "1", "--difference-seeds", "1")
    assert done.returncode == 0, done.stderr
    new = [trial for trial in record.trials() if trial.run_id not in before]
    assert sorted((trial.name, trial.seeds) for trial in new if "tables" in trial.tags["study"]) == [
        ("baseline", (2,)),
        ("batch-norm-yes", (2,)),
    ]
    assert [trial.name for trial in new if trial.tags["study"] == "search" and trial.seeds == (0,)] == ["search-006"]
    assert "± " in done.stdout
    (differences,) = [table for table in record.sweeps()[-1].tables if table.slug == "search-differences"]
    trained = {trial.key for trial in record.trials() if trial.complete}
    assert len(differences.rows) > 1 and {row.key for row in differences.rows} <= trained
