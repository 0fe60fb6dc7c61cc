"""The share of the slots' time that a sweep of the report's tables spends on training and evaluation.

    python -m benchmarks.slots --data-dir /data/cifar10 --epochs 2

The share is the time of all epochs divided by the number of slots and by the time of the sweep. The sweep's time starts
when its run is opened, after Ray has started. The rest of the slots' time goes to starting actors, loading data,
checkpoints and reports, and to slots that are idle at the end.
"""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.machine import DataDirOption, DataOption, save
from benchmarks.timed import run_command


def main(
    data: DataOption = "cifar10",
    data_dir: DataDirOption = None,
    epochs: Annotated[int, typer.Option(help="Epochs of each of the 18 configs.")] = 20,
) -> None:
    """Run the tables once and write benchmarks/results/slots-cpu.json."""
    where = ["--data-dir", str(Path(data_dir).absolute())] if data_dir else []
    swept = run_command(data, "--studies", "tables", "--epochs", str(epochs), *where)
    busy_s = sum(seconds for trial in swept.epochs for _, seconds in trial)
    figures = {
        "data": data,
        "trials": len(swept.epochs),
        "epochs": epochs,
        "slots": swept.slots,
        "sweep_s": swept.seconds,
        "busy_s": busy_s,
        "share": busy_s / swept.seconds / swept.slots,
    }
    save("slots", "cpu", figures)


if __name__ == "__main__":
    typer.run(main)
