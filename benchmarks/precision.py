"""Tests whether bfloat16 reaches the same errors as single precision, paired by seed.

    python -m benchmarks.precision --data digits

Lower precision may become the default only on such evidence. Until then it is an option: `--precision bf16`.
"""

from typing import Annotated

import torch
import typer
from scipy import stats

from benchmarks.machine import save, spread
from trainable.config import Config
from trainable.data import load
from trainable.training import Trainer


def main(
    data: Annotated[str, typer.Option(help="cifar10 or digits.")] = "cifar10",
    data_dir: Annotated[str | None, typer.Option(help="Folder of CIFAR-10.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds, at least ten for evidence.")] = 10,
    epochs: Annotated[int, typer.Option(help="Epochs a training.")] = 20,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Compare the precisions and write benchmarks/results/precision-DEVICE.json."""
    if device == "cpu":
        torch.set_num_threads(1)
    dataset = load(data, data_dir)
    figures: dict = {"data": data, "seeds": seeds, "epochs": epochs}
    for name, config in (("baseline", Config(data=data)), ("batch_norm", Config(data=data, batch_norm=True))):
        final, seconds = {}, {}
        for precision in ("fp32", "bf16"):
            trainer = Trainer(config.change(precision=precision, epochs=epochs), dataset, range(seeds), device)
            while not trainer.done:
                trainer.run_epoch()
            final[precision] = trainer.history[-1].metrics["test_error"]
            seconds[precision] = sum(epoch.seconds for epoch in trainer.history)
        differences = [low - full for low, full in zip(final["bf16"], final["fp32"], strict=True)]
        figures[name] = {
            "final_test_error": final,
            "difference": spread(differences),
            "t_test_p": float(stats.ttest_rel(final["bf16"], final["fp32"]).pvalue),
            "wilcoxon_p": float(stats.wilcoxon(differences, zero_method="zsplit").pvalue),
            "bf16_speed_up": seconds["fp32"] / seconds["bf16"],
        }
    save("precision", device, figures)


if __name__ == "__main__":
    typer.run(main)
