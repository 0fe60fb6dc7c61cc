"""A sweep on a Ray cluster that is already up: joined from outside, and as a submitted job."""

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.record.mlflow_record import Record
from analysis.record.recorded import WINNER_METRIC
from benchmarks.clusters import RAY, Cluster, cluster, free_port, wait_for
from benchmarks.machine import sweep_command
from tests.conftest import ROOT


def through_ray_client(folder: Path, *work: str) -> subprocess.CompletedProcess:
    """A sweep that joins a cluster of two cores through its Ray client server."""
    port = free_port()
    head = ["--num-cpus=2", f"--ray-client-server-port={port}", "--include-dashboard=false"]
    with cluster(*head, port=port + 1) as running:
        command = sweep_command("--address", f"ray://127.0.0.1:{port}", *work)
        return subprocess.run(
            command, cwd=folder, env=running.environment, capture_output=True, text=True, timeout=240, check=False
        )


@pytest.mark.cluster
def test_a_sweep_runs_through_ray_client(tmp_path: Path) -> None:
    work = ["--data", "digits", "--studies", "tables", "--only", "7", "--epochs", "1"]
    done = through_ray_client(tmp_path, *work)
    assert done.returncode == 0, done.stderr
    trials = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits").trials()
    assert sorted(trial.name for trial in trials if trial.complete) == ["baseline", "batch-norm-yes"]
    assert "Table 7. Batch normalisation (digits)" in done.stdout


@pytest.mark.cluster
def test_a_search_through_ray_client_ends_with_its_budget(tmp_path: Path) -> None:
    work = ["--data", "digits", "--studies", "search", "--epochs", "3", "--samples", "200", "--budget", "10s"]
    done = through_ray_client(tmp_path, *work)
    assert done.returncode == 0, done.stderr
    record = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits")
    assert [sweep.status for sweep in record.sweeps()] == ["FINISHED"]
    assert any(WINNER_METRIC in trial.metrics for trial in record.trials()), "its race was run and its winner proven"


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_a_job_is_submitted_followed_stopped_and_goes_on(tmp_path: Path) -> None:
    """From a clean clone, whose code is shipped; then somebody else's job on the same cluster."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    port = free_port()
    record, storage = f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "storage")
    agent = f"--dashboard-agent-listen-port={port + 2}"  # the default may be another Ray's on this machine
    with cluster("--num-cpus=2", f"--dashboard-port={port}", agent, port=port + 1) as running:

        def submit(name: str, *arguments: str, no_wait: tuple[str, ...] = (), check: bool = True) -> str:
            entry = [sys.executable, "sweeps/full.py", "--address", "auto", "--data", "digits", "--studies", "tables"]
            where = ["--tracking-uri", record, "--storage-path", storage]
            job = ["--working-dir", str(clone), "--submission-id", name, *no_wait, "--", *entry, *arguments, *where]
            return _job(running, port, "submit", *job, check=check)

        def accepted() -> bool:  # Ray's agent takes jobs some seconds after the head is up
            return "submitted success" in submit(
                "first", "--only", "7", "--epochs", "150", no_wait=("--no-wait",), check=False
            )

        wait_for("a head that takes jobs", accepted)
        wait_for("epochs in the job's log", lambda: "epoch" in _job(running, port, "logs", "first"), 120)
        _job(running, port, "stop", "first")
        assert "Nothing to do" not in submit("again", "--only", "7", "--epochs", "150")
        assert "Nothing to do: the record has it all." in submit("third", "--only", "7", "--epochs", "150")
        submit("somebody-else", "--only", "5", "--epochs", "1")
    own = Record(record, "ablations-digits")
    complete = [trial for trial in own.trials() if trial.complete]
    assert sorted(trial.name for trial in complete if trial.config.epochs == 150) == ["baseline", "batch-norm-yes"]
    for trial in complete:
        epochs = [epoch for epoch, _ in own.with_histories([trial])[0].histories["test_error"]]
        assert epochs == list(range(1, trial.config.epochs + 1))


def _job(running: Cluster, port: int, verb: str, *arguments: str, check: bool = True) -> str:
    command = [RAY, "job", verb, "--address", f"http://127.0.0.1:{port}", *arguments]
    done = subprocess.run(command, env=running.environment, capture_output=True, text=True, timeout=280, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
