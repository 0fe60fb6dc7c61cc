"""A sweep for real in the worst place: inside another clone, with the variables of other tools, without a home."""

import os
import subprocess
from pathlib import Path

from analysis.record import Record
from tests.conftest import ROOT, sweep_command

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


def test_workers_train_the_code_of_the_command(tmp_path: Path) -> None:
    for package in ("analysis", "sweeps", "trainable"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('this is the code of another clone')")
    done = subprocess.run(
        sweep_command("--data", "digits", "--studies", "tables", "--only", "7", "--epochs", "1"),
        cwd=tmp_path,
        env=os.environ | FOREIGN | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    record = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits")
    assert sorted(trial.name for trial in record.trials() if trial.complete) == ["baseline", "batch-norm-yes"]
    (sweep,) = record.sweeps()
    git = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    assert sweep.tags["git_commit"].startswith(subprocess.check_output(git, text=True).strip())
