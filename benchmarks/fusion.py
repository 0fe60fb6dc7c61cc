"""Compares seeds fused into one program with the same seeds trained one after another. Needs no Ray.

python -m benchmarks.fusion --device cuda --data-dir /data/cifar10
python -m benchmarks.fusion --device cuda --data-dir /data/cifar10 --study
"""

from typing import Annotated, Any

import torch
import typer

from benchmarks.machine import save, spread
from sweeps.studies.ablations import TABLES
from trainable.config import Config
from trainable.data import Dataset, load
from trainable.training import Trainer

STUDY_SEEDS = 5
"""Seeds of each config with `--study`."""


def main(
    data: Annotated[str, typer.Option(help="cifar10 or digits.")] = "cifar10",
    data_dir: Annotated[str | None, typer.Option(help="Folder of CIFAR-10.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds to fuse.")] = 8,
    repeats: Annotated[int, typer.Option(help="Interleaved epochs of each.")] = 3,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    study: Annotated[bool, typer.Option(help="Also train the tables' 18 configs, 5 seeds and 20 epochs each.")] = False,
) -> None:
    """Compare the two and write benchmarks/results/fusion-DEVICE.json."""
    if device == "cpu":
        torch.set_num_threads(1)
    dataset = load(data, data_dir)
    figures: dict[str, Any] = {"data": data, "seeds": seeds}
    for name, config in (("baseline", Config(data=data)), ("batch_norm", Config(data=data, batch_norm=True))):
        fused, serial = (Trainer(config, dataset, range(seeds), device, fused=fuse) for fuse in (True, False))
        fused.run_epoch(), serial.run_epoch()  # not timed: it captures graphs and fills caches
        seconds = [(fused.run_epoch().seconds, serial.run_epoch().seconds) for _ in range(repeats)]
        figures[name] = {
            "fused_seed_epochs_a_second": spread([seeds / fused_s for fused_s, _ in seconds]),
            "serial_seed_epochs_a_second": spread([seeds / serial_s for _, serial_s in seconds]),
            "ratio": spread([serial_s / fused_s for fused_s, serial_s in seconds]),
            "first_steps_differ_by": _difference(fused, serial),
        }
    if study:
        figures["study_s"] = _study(dataset, device)
    save("fusion", device, figures)


def _difference(fused: Trainer, serial: Trainer, steps: int = 10) -> float:
    """The largest relative difference between mini-batch losses of the two in the first steps."""
    fused_losses, differences = fused.step_losses(), []
    for seed, losses in serial.step_losses().items():
        differences.append(((fused_losses[seed] - losses).abs() / losses)[:steps].max())
    return float(max(differences))


def _study(dataset: Dataset, device: str) -> dict[str, float]:
    """Seconds to train each distinct config of the tables, with its seeds fused, and their total."""
    configs = {Config(data=dataset.name, **row.change) for table in TABLES.tables for row in table.rows}
    seconds = {}
    for config in sorted(configs, key=str):
        trainer = Trainer(config, dataset, range(STUDY_SEEDS), device)
        while not trainer.done:
            trainer.run_epoch()
        seconds[str(config.canonical())] = sum(epoch.seconds for epoch in trainer.history)
    return {"configs": len(configs), "seeds": STUDY_SEEDS, "total": sum(seconds.values()), **seconds}


if __name__ == "__main__":
    typer.run(main)
