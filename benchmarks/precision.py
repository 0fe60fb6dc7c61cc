"""How much bfloat16 changes the test error of single precision, paired by seed, and how fast it is.

    python -m benchmarks.precision --data digits

Lower precision may become the default only on such evidence. Until then it is an option: `--precision bf16`.
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
    seeds: Annotated[int, typer.Option(help="Seeds, at least ten for evidence.")] = 10,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs a training.")] = 20,
    device: DeviceOption = "cpu",
) -> None:
    """Compare the precisions and write benchmarks/results/precision-DEVICE.json."""
    if device == "cpu":
        torch.set_num_threads(1)
    dataset = load(data, data_dir)
    figures: dict[str, Any] = {"data": data, "seeds": seeds, "epochs": epochs}
    for name, change in NETWORKS.items():
        config = Config(data=data, epochs=epochs, **change)
        full, low = (
            Trainer(config.change(precision=precision), dataset, range(seeds), device) for precision in ("fp32", "bf16")
        )
        speed_ups = []
        while not full.done:
            full_s, low_s = full.run_epoch().seconds, low.run_epoch().seconds
            speed_ups.append(full_s / low_s)
        figures[name] = {
            "final_test_error": {
                precision: trainer.history[-1].metrics["test_error"]
                for precision, trainer in (("fp32", full), ("bf16", low))
            },
            "bf16_speed_up": spread(speed_ups[1:]),  # the first epoch captures graphs and fills caches
        }
    save("precision", device, figures)


if __name__ == "__main__":
    typer.run(main)
