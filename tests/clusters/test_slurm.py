"""The batch script for Slurm, with stand-ins for Slurm's commands on one node."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.record.mlflow_record import Record
from benchmarks.clusters import kill_where, wait_for
from tests.conftest import ROOT
from tests.drivers import embedded

SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift 2; done
exec "$@"
"""
"""It starts the command here, whatever nodes are asked for."""
SCONTROL = "#!/usr/bin/env bash\necho 127.0.0.1\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with what the script uses of the repository."""
    (tmp_path / "sweeps").symlink_to(ROOT / "sweeps")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(text)
        command.chmod(0o755)
    return tmp_path


@pytest.mark.cluster
def test_the_batch_job_trains_and_stops_when_slurm_says_so(repository: Path) -> None:
    """Slurm's signal comes before the job's time is over; the sweep stops as after Ctrl-C, with 130."""
    job_id = str(os.getpid())
    environment = os.environ | {
        "PATH": f"{repository}/bin:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(repository),
        "SLURM_JOB_ID": job_id, "SLURM_JOB_NODELIST": "node", "SLURM_JOB_NUM_NODES": "1",
        "SLURM_CPUS_PER_TASK": "2", "SLURM_GPUS_ON_NODE": "0",
    }  # fmt: skip
    work = ["--data", "digits", "--studies", "tables", "--only", "7", "--epochs", "150", "--gpus-per-trial", "0"]
    with (repository / "log.txt").open("w") as log:
        job = subprocess.Popen(
            ["bash", str(ROOT / "docs" / "cluster" / "slurm.sh"), *work],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

    def record() -> Record:
        return embedded(repository)

    try:
        wait_for("an epoch", lambda: any(trial.metrics for trial in record().trials()), 180)
        os.kill(job.pid, signal.SIGTERM)
        assert job.wait(timeout=120) == 130, (repository / "log.txt").read_text()
        assert [sweep.params["slots"] for sweep in record().sweeps()] == ["1"], "a core is the driver's"
        assert [sweep.status for sweep in record().sweeps()] == ["KILLED"]
    finally:
        kill_where("SLURM_JOB_ID", job_id)  # Slurm would end the head with its job
