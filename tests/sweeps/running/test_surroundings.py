"""A sweep for real in the worst place: inside another clone, with the variables of other tools, without a home. It
trains a search's winner again from its file."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from analysis.record.mlflow_record import Record
from benchmarks.machine import sweep_command
from sweeps.full import GO_ON, STOPPED
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("made_record")

FOREIGN = {
    "COLUMNS": "40",
    "CUDA_VISIBLE_DEVICES": "-1",
    "GIT_DIR": "/nowhere",
    "HOME": "/dev/null",
    "LC_ALL": "C",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
    "MLFLOW_EXPERIMENT_ID": "77",
    "MLFLOW_RUN_ID": "0" * 32,
    "OMP_NUM_THREADS": "",
    "PYTHONIOENCODING": "ascii",
    "PYTHONWARNINGS": "error",
    "RAY_ADDRESS": "",
    "TERM": "dumb",
}


@pytest.mark.sweeps
@pytest.mark.timeout(600)  # it waits for another test's sweep
def test_workers_train_the_code_of_the_command(swept: Path, tmp_path: Path) -> None:
    there = Record(f"sqlite:///{swept}/mlflow.db", "ablations-digits")
    file = there.client.download_artifacts(there.sweeps()[0].run_id, "best_bn.yaml", str(tmp_path))
    for package in ("analysis", "sweeps", "trainable"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('this is the code of another clone')")
    done = subprocess.run(
        sweep_command("--config", file),
        cwd=tmp_path,
        env=os.environ | FOREIGN | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    record = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits")
    (trained,) = record.histories()
    before = next(trial for trial in there.histories() if trial.key == trained.key and trial.seeds == (0,))
    assert trained.histories["test_error"] == before.histories["test_error"]
    (sweep,) = record.sweeps()
    git = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    assert sweep.tags["git_commit"].startswith(subprocess.check_output(git, text=True).strip())


def test_impatience_while_ray_starts_is_one_line(tmp_path: Path) -> None:
    command = sweep_command("--data", "digits", "--studies", "tables", "--only", "7", "--epochs", "1")
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    starting = psutil.Process(process.pid)
    while not any(child.name() == "gcs_server" for child in starting.children()):
        time.sleep(0.05)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    output, error = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert error.split("\n")[:1] == [f"{STOPPED} {GO_ON}"]
    assert "Traceback" not in error
