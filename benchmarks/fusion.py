"""Compares seeds fused into one program with the same seeds trained one after another. Needs no Ray.

python -m benchmarks.fusion --device cuda --data-dir /data/cifar10
"""

from typing import Annotated, Any

import torch
import typer

from benchmarks.machine import NETWORKS, DataDirOption, DataOption, DeviceOption, save, spread
from trainable.config import Config
from trainable.data import load
from trainable.training import Trainer


def main(
    data: DataOption = "cifar10",
    data_dir: DataDirOption = None,
    seeds: Annotated[int, typer.Option(help="Seeds to fuse.")] = 8,
    repeats: Annotated[int, typer.Option(help="Interleaved epochs of each.")] = 3,
    device: DeviceOption = "cpu",
) -> None:
    """Compare the two and write benchmarks/results/fusion-DEVICE.json."""
    if device == "cpu":
        torch.set_num_threads(1)
    dataset = load(data, data_dir)
    figures: dict[str, Any] = {"data": data, "seeds": seeds}
    for name, change in NETWORKS.items():
        config = Config(data=data, **change)
        fused, serial = (Trainer(config, dataset, range(seeds), device, fused=fuse) for fuse in (True, False))
        fused.run_epoch(), serial.run_epoch()  # not timed: it captures graphs and fills caches
        seconds = [(fused.run_epoch().seconds, serial.run_epoch().seconds) for _ in range(repeats)]
        figures[name] = {
            "fused_seed_epochs_a_second": spread([seeds / fused_s for fused_s, _ in seconds]),
            "serial_seed_epochs_a_second": spread([seeds / serial_s for _, serial_s in seconds]),
            "ratio": spread([serial_s / fused_s for fused_s, serial_s in seconds]),
            "first_steps_differ_by": _difference(fused, serial),
        }
    save("fusion", device, figures)


def _difference(fused: Trainer, serial: Trainer, steps: int = 10) -> float:
    """The largest relative difference between mini-batch losses of the two in the first steps."""
    fused_losses, differences = fused.step_losses(), []
    for seed, losses in serial.step_losses().items():
        differences.append(((fused_losses[seed] - losses).abs() / losses)[:steps].max())
    return float(max(differences))


if __name__ == "__main__":
    typer.run(main)
