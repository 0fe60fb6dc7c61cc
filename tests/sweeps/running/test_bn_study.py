"""The batch-norm study for real: probed trainings, loss surfaces and the report that shows them, on the record."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from analysis.record.exported_record import ExportedRecord
from analysis.record.mlflow_record import Record
from analysis.record.recorded import TrialRecord
from analysis.report import write_report
from analysis.report_data import ReportData
from sweeps.transfer import app
from tests.conftest import ONE_SLOT, ROOT, Command
from trainable.files import SURFACE, TRACES
from trainable.measures import STEP_SIZES

pytestmark = [pytest.mark.sweeps, pytest.mark.timeout(600)]  # the first test waits for two sweeps
ARGUMENTS = ["--data", "digits", "--epochs", "2"]
STUDIES = [*ARGUMENTS, "--studies", "smoothness,surface", *ONE_SLOT]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def record(swept: Path) -> Record:
    """Of the sweep only two trainings without probes are kept. Now the study runs, by its own command."""
    record = Record(f"sqlite:///{swept}/mlflow.db", "ablations-digits")
    for trial in record.trials():
        if trial.name not in ("baseline", "batch-norm-yes") or 0 not in trial.seeds:
            record.client.delete_run(trial.run_id)
    run([sys.executable, str(ROOT / "sweeps" / "bn_study.py"), *STUDIES], swept)
    return record


def named(record: Record, name: str) -> list[TrialRecord]:
    return [trial for trial in record.trials() if trial.name == name]


def test_a_training_without_probes_runs_again_to_the_same_errors(record: Record) -> None:
    plain, probed = record.with_histories([trial for trial in named(record, "baseline") if 0 in trial.seeds])
    assert ("probe_every" in plain.tags, "probe_every" in probed.tags) == (False, True)
    for metric in ("train_loss", "train_error", "test_error"):
        assert plain.histories[metric] == probed.histories[metric]
    traces = load_file(record.client.download_artifacts(probed.run_id, f"model/{TRACES}"))
    assert traces["probes/seed_0"].shape == (2, len(STEP_SIZES), 3)
    assert np.isfinite(traces["probes/seed_0"]).all()


def test_surfaces_lie_with_their_trainings_and_agree_with_them(record: Record) -> None:
    with_surface = [trial for trial in record.trials() if record.arrays(trial, SURFACE)]
    assert sorted(trial.config.batch_norm for trial in with_surface) == [False, True]
    for trial in with_surface:
        surface = record.arrays(trial, SURFACE)
        middle = len(surface["alphas"]) // 2
        assert surface["loss"].shape == (len(surface["betas"]), len(surface["alphas"]))
        assert surface["alphas"][middle] == 0
        # all 1,438 train images are the subset, so the middle is the recorded train error
        assert surface["error"][middle, middle] == pytest.approx(trial.metrics["train_error"], abs=2e-3)


def test_the_report_is_attached_to_the_sweep(record: Record) -> None:
    sweep = record.sweeps()[-1]
    files = {file.path for file in record.client.list_artifacts(sweep.run_id, "report")}
    for name in ("index.html", "README.md", "smoothness-cnn-sgd-0.1.png", "surface-2d.png", "kernels-1-batch-norm.png"):
        assert f"report/{name}" in files


def home(record: Record) -> Path:
    return Path(record.client.tracking_uri.removeprefix("sqlite:///")).parent


@pytest.fixture
def transfer(here: Command) -> Callable[..., None]:
    """Exports or imports the record of a folder."""

    def run(*arguments: str, folder: Path) -> None:
        done = here(*arguments, "--experiment", "ablations-digits", app=app, folder=folder)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def planned(here: Command) -> Callable[[Path, str], dict]:
    """The plan in a folder, with the surfaces that are missing."""

    def run(folder: Path, studies: str) -> dict:
        return json.loads(here(*ARGUMENTS, "--studies", studies, "--dry-run", "--json", folder=folder).stdout)

    return run


def test_again_does_nothing(record: Record, here: Command) -> None:
    assert "Nothing to do" in here(*STUDIES, folder=home(record)).stderr
    assert len(record.sweeps()) == 2


@pytest.mark.usefixtures("made_record")
def test_the_pictures_travel_with_the_record(
    record: Record, transfer: Callable[..., None], planned: Callable[[Path, str], dict], tmp_path: Path
) -> None:
    transfer("export", str(tmp_path / "files"), folder=home(record))
    assert not list((tmp_path / "files").rglob("weights.safetensors")), "weights are large, and asked for with --models"
    write_report(ReportData(ExportedRecord(tmp_path / "files"), tmp_path / "report"))
    for picture in (
        "smoothness-cnn-sgd-0.1",
        "smoothness-cnn-adam-0.001",
        "surface-2d",
        "kernels-1-baseline",
        "kernels-2-baseline",
    ):
        there = tmp_path / "report" / f"{picture}.csv"
        here = record.client.download_artifacts(record.sweeps()[-1].run_id, f"report/{picture}.csv")
        assert there.read_text() == Path(here).read_text()
    transfer("import", str(tmp_path / "files"), folder=tmp_path)
    plan = planned(tmp_path, "smoothness,surface")
    assert (plan["to_run"], plan.get("surfaces")) == (0, None)


@pytest.mark.usefixtures("made_record")
def test_an_import_without_what_was_measured_is_measured_again(
    record: Record, transfer: Callable[..., None], planned: Callable[[Path, str], dict], tmp_path: Path
) -> None:
    transfer("export", str(tmp_path / "files"), folder=home(record))
    shutil.copytree(tmp_path / "files", tmp_path / "bare")
    for file in (tmp_path / "bare").rglob("*.safetensors"):
        file.unlink()
    transfer("import", str(tmp_path / "bare"), folder=tmp_path)
    assert planned(tmp_path, "tables")["recorded"] == 2, "the errors are there"
    assert planned(tmp_path, "smoothness")["to_run"] == 4
    assert planned(tmp_path, "surface")["to_run"] == 2
    transfer("import", str(tmp_path / "files"), folder=tmp_path)  # the trials are there already; their files come now
    assert planned(tmp_path, "smoothness,surface")["to_run"] == 0
