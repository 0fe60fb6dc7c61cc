"""The share of the slots' time that a sweep of the report's tables spends on training and evaluation.

    python -m benchmarks.slots --data-dir /data/cifar10 --epochs 2

The share is the time of all epochs divided by the number of slots and by the time of the sweep. The sweep's time starts
when its run is opened, after Ray has started. The rest of the slots' time goes to starting actors, loading data,
checkpoints and reports, and to slots that are idle at the end.
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
