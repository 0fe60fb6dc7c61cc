"""How much of the slots' time a sweep of the report's tables spends training or evaluating.

    python -m benchmarks.slots --data-dir ../shared/cifar10 --epochs 2

The share is the sum of all epochs' seconds over slots times the sweep's seconds, from the sweep's run being opened
(Ray is up) to its end: starting actors, loading data, checkpoints, reports and the idle slots at the end are the rest.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.machine import ROOT, save


def main(
    data: Annotated[str, typer.Option(help="cifar10 or digits.")] = "cifar10",
    data_dir: Annotated[str | None, typer.Option(help="Folder of CIFAR-10.")] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of each of the 18 configs.")] = 20,
) -> None:
    """Run the tables once and write benchmarks/results/slots-cpu.json."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "sweeps" / "full.py"), "--studies", "tables", "--data", data]
        command += ["--data-dir", str(Path(data_dir).absolute())] if data_dir else []
        subprocess.run([*command, "--epochs", str(epochs)], cwd=folder, check=True)
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        runs = client.search_runs([client.get_experiment_by_name(f"ablations-{data}").experiment_id])
        sweep = next(run for run in runs if run.data.tags["role"] == "sweep")
        busy = [
            sum(metric.value for metric in client.get_metric_history(run.info.run_id, "epoch_s"))
            for run in runs
            if run.data.tags["role"] == "trial"
        ]
    seconds, slots = (sweep.info.end_time - sweep.info.start_time) / 1000, int(sweep.data.params["slots"])
    figures = {"data": data, "trials": len(busy), "epochs": epochs, "slots": slots, "sweep_s": seconds}
    save("slots", "cpu", figures | {"busy_s": sum(busy), "share": sum(busy) / seconds / slots})


if __name__ == "__main__":
    typer.run(main)
