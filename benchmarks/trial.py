"""One trial taken apart: where the seconds of an epoch go, and how far they are from the machine's floor.

    python -m benchmarks.trial --data-dir ../shared/cifar10

The parts are timed one by one on one thread; `epoch` is the real epoch, which on a GPU replays a graph. The floor is
the larger of the epoch's floating-point operations over the measured rate of matrix products and of its activations'
bytes over the measured bandwidth of copies.
"""

import io
import pickle
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from benchmarks.machine import save, spread
from sweeps.planning.rates import epoch_flops
from trainable.batches import Batches
from trainable.config import Config
from trainable.data import load
from trainable.model import build
from trainable.optim import make_loss, make_optimizer
from trainable.storage import CHECKPOINT, TrialStorage
from trainable.training import Trainer

STEPS = 60
BYTES = 1 << 29


def main(
    data: Annotated[str, typer.Option(help="cifar10 or digits.")] = "cifar10",
    data_dir: Annotated[str | None, typer.Option(help="Folder of CIFAR-10.")] = None,
    batch_norm: Annotated[bool, typer.Option(help="The network with batch norm.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repeats: Annotated[int, typer.Option(help="Epochs.")] = 3,
) -> None:
    """Take one trial apart and write benchmarks/results/trial-DEVICE.json."""
    torch.set_num_threads(1)
    config, place = Config(data=data, batch_norm=batch_norm), torch.device(device)
    dataset = load(data, data_dir)
    trainer = Trainer(config, dataset, (0,), device)
    trainer.run_epoch()
    epochs = [trainer.run_epoch().seconds for _ in range(repeats)]
    splits = {name: Batches(split, config, place) for name, split in dataset.splits("A").items()}
    steps = splits["train"].count(config.batch_size)
    parts = {name: seconds * steps for name, seconds in _step(config, splits["train"], place).items()}
    _, parts["evaluation"] = _timed(place, trainer.errors)
    rate, bandwidth = _matmul_rate(place), _bandwidth(place)
    flops, traffic = epoch_flops(config), _traffic(config, splits)
    figures = {
        "config": config.canonical(),
        "epoch_s": spread(epochs),
        "parts_s": parts,
        **_keeping(trainer),
        "flops": flops,
        "bytes": traffic,
        "matmul_flops_a_second": rate,
        "copy_bytes_a_second": bandwidth,
        "floor_s": {"arithmetic": flops / rate, "memory": traffic / bandwidth},
    }
    figures["share_of_floor"] = max(figures["floor_s"].values()) / median(epochs)
    save("trial", device, figures)


def _step(config: Config, batches: Batches, device: torch.device) -> dict[str, float]:
    """Median seconds of each part of a training step, run eagerly."""
    model = build(config).to(device, memory_format=torch.channels_last).train()
    parameters = list(model.parameters())
    loss, optimizer = make_loss(config), make_optimizer(config, parameters)
    taken: dict[str, list[float]] = {"data": [], "forward": [], "backward": [], "optimizer": []}

    def timed(name: str, part: Callable, *arguments: Any) -> Any:
        result, seconds = _timed(device, part, *arguments)
        taken[name].append(seconds)
        return result

    for rows_ns, moves_ns3 in islice(batches.shuffled([torch.Generator()]), STEPS):
        images, labels_ns = timed("data", batches.load, rows_ns, moves_ns3)
        value = timed("forward", lambda x, y: loss(model(x), y).mean(), images, labels_ns.flatten())
        gradients = timed("backward", torch.autograd.grad, value, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        timed("optimizer", optimizer.step)
    return {name: median(values) for name, values in taken.items()}


def _timed(device: torch.device, part: Callable, *arguments: Any) -> tuple[Any, float]:
    """What a part returns, and its seconds."""
    _wait(device)
    start = time.perf_counter()
    result = part(*arguments)
    _wait(device)
    return result, time.perf_counter() - start


def _keeping(trainer: Trainer) -> dict[str, float]:
    """Seconds of a checkpoint on a local disk, and of packing a report."""

    def checkpoint() -> None:
        torch.save(trainer.state_dict(), buffer)
        storage.write(CHECKPOINT, buffer.getbuffer())

    with tempfile.TemporaryDirectory() as folder:
        storage, buffer = TrialStorage(folder, "benchmark", (0,)), io.BytesIO()
        report = [asdict(epoch) for epoch in trainer.history]
        timings = {"checkpoint_s": checkpoint, "report_s": lambda: pickle.dumps(report)}
        return {name: _timed(trainer.device, part)[1] for name, part in timings.items()}


def _matmul_rate(device: torch.device, size: int = 1024) -> float:
    """Floating-point operations a second of a square product in single precision."""
    left, right = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    return 2 * size**3 / _best(device, lambda: left @ right)


def _bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a copy that no cache holds."""
    source = torch.zeros(BYTES, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return 2 * BYTES / _best(device, lambda: target.copy_(source))


def _best(device: torch.device, work: Callable[[], object], repeats: int = 20) -> float:
    return min(_timed(device, work)[1] for _ in range(repeats))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _traffic(config: Config, splits: dict[str, Batches]) -> float:
    """Bytes of an epoch if every layer's output is written once and read once, and in training so is its gradient and
    it is read once more for it."""
    written: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        written.append(output.numel() * output.element_size())

    model = build(config).eval()
    for module in model:
        module.register_forward_hook(count)
    model(torch.zeros(1, 3, 32, 32))
    image = sum(written)
    return image * (5 * splits["train"].size + 2 * sum(batches.size for batches in splits.values()))


if __name__ == "__main__":
    typer.run(main)
