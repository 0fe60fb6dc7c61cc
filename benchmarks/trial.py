"""One trial taken apart: where the time of an epoch goes, and how far it is from what the machine could do.

    python -m benchmarks.trial --data-dir /data/cifar10

The parts of a step are timed one by one on one thread: those of the learner's own `Gradients`, and its optimizer.
`epoch_s` is the real epoch, which on a GPU replays a CUDA graph. The floor, a rough lower limit, is the larger of two
times: the floating-point operations at the measured rate of matrix products, and the activations' bytes at the measured
bandwidth of copies. The epoch has one, and its evaluation another.
"""

import io
import tempfile
import time
from collections.abc import Callable
from itertools import islice, pairwise
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from benchmarks.machine import DataDirOption, DataOption, DeviceOption, save, spread
from sweeps.planning.rates import epoch_flops, image_flops
from trainable.architecture import layers
from trainable.batches import Batches, batches_of
from trainable.config import Config
from trainable.data import load
from trainable.gradients import Gradients
from trainable.learner import Learner
from trainable.model import TorchLayout, build
from trainable.optim import make_optimizer, parameter_groups
from trainable.storage import CHECKPOINT, TrialStorage
from trainable.training import Trainer
from trainable.trial import TrialReport
from trainable.tune_trainable import tune_result

STEPS = 60
"""Training steps to time."""
MATRIX_SIZE = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the matrices that measure the rate of products, by device: a small product leaves a GPU idle."""
COPY_BYTES = 1 << 29
"""Size of the copy that measures the bandwidth: larger than any cache."""


def main(
    data: DataOption = "cifar10",
    data_dir: DataDirOption = None,
    device: DeviceOption = "cpu",
    repeats: Annotated[int, typer.Option(help="Epochs.")] = 3,
) -> None:
    """Take one trial apart and write benchmarks/results/trial-DEVICE.json."""
    torch.set_num_threads(1)
    config, torch_device = Config(data=data), torch.device(device)
    dataset = load(data, data_dir)
    trainer = Trainer(config, dataset, (0,), device)
    trainer.run_epoch()
    measured = [  # in turns: other programs on the machine slow the epoch and its floor alike
        (trainer.run_epoch().seconds, _matmul_rate(torch_device), _bandwidth(torch_device)) for _ in range(repeats)
    ]
    epochs, rates, bandwidths = zip(*measured, strict=True)
    splits = batches_of(dataset.splits("A"), config, torch_device)
    steps = splits["train"].steps_per_epoch
    parts = {name: seconds * steps for name, seconds in _step_parts(config, splits["train"], torch_device).items()}
    parts["evaluation"] = median(_timed(torch_device, trainer.evaluate)[1] for _ in range(repeats))
    rate, bandwidth = median(rates), median(bandwidths)
    trained, evaluated = splits["train"].size, sum(each.size for each in splits.values())
    flops, traffic = _flops(config, trained), _activation_bytes(config, trained, evaluated)
    floor_s = {"arithmetic": flops / rate, "memory": traffic / bandwidth}
    evaluation_floor_s = max(
        evaluated * image_flops(config) / rate, _activation_bytes(config, 0, evaluated) / bandwidth
    )
    figures = {
        "config": config.canonical(),
        "epoch_s": spread(list(epochs)),
        "parts_s": parts,
        **_saving(trainer),
        "flops": flops,
        "bytes": traffic,
        "matmul_flops_a_second": rate,
        "copy_bytes_a_second": bandwidth,
        "floor_s": floor_s,
        "share_of_floor": max(floor_s.values()) / median(epochs),
        "evaluation_floor_s": evaluation_floor_s,
    }
    save("trial", device, figures)


def _step_parts(config: Config, batches: Batches, device: torch.device) -> dict[str, float]:
    """Median seconds of each part of a learner's training step, without a CUDA graph."""
    model = Learner(config, (0,), batches, device).model.train()
    gradients, parameters = Gradients(config, model, batches, device), list(model.parameters())
    optimizer = make_optimizer(config, parameter_groups(config, model), device)
    ends: list[float] = []

    def end_part(*_: object) -> None:
        _wait(device)
        ends.append(time.perf_counter())

    model.register_forward_pre_hook(end_part)
    model.register_forward_hook(end_part)
    steps = []
    for rows_ns, augmentation_nsa in islice(batches.shuffled([torch.Generator()]), STEPS):
        ends.clear()
        end_part()
        _, *gradients_of_step = gradients(rows_ns, augmentation_nsa)
        for parameter, gradient in zip(parameters, gradients_of_step, strict=True):
            parameter.grad = gradient
        end_part()
        optimizer.step()
        end_part()
        steps.append([end - start for start, end in pairwise(ends)])
    names = ("data", "forward", "loss and backward", "optimizer")
    return {name: median(seconds) for name, seconds in zip(names, zip(*steps, strict=True), strict=True)}


def _timed(device: torch.device, part: Callable, *arguments: Any) -> tuple[Any, float]:
    """What `part` returns, and the seconds that it took."""
    _wait(device)
    start = time.perf_counter()
    result = part(*arguments)
    _wait(device)
    return result, time.perf_counter() - start


def _saving(trainer: Trainer) -> dict[str, float]:
    """Seconds to write a checkpoint to a local disk, and to make a report of one epoch for Tune."""
    with tempfile.TemporaryDirectory() as folder:
        storage, buffer = TrialStorage(folder, "benchmark", (0,)), io.BytesIO()

        def checkpoint() -> None:
            torch.save(trainer.state_dict(), buffer)
            storage.write(CHECKPOINT, buffer.getbuffer())

        checkpoint_s = _timed(trainer.device, checkpoint)[1]
    report = TrialReport(epochs=(trainer.history[-1],), done=False)
    return {
        "checkpoint_s": checkpoint_s,
        "tune_result_s": median(_timed(trainer.device, tune_result, report)[1] for _ in range(STEPS)),
    }


def _matmul_rate(device: torch.device) -> float:
    """Floating-point operations per second of a product of square matrices in single precision."""
    size = MATRIX_SIZE[device.type]
    left, right = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    return 2 * size**3 / _best(device, lambda: left @ right)


def _bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of a copy that is too large for a cache."""
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return 2 * COPY_BYTES / _best(device, lambda: target.copy_(source))


def _best(device: torch.device, work: Callable[[], object], repeats: int = 20) -> float:
    """Seconds of the fastest repeat."""
    return min(_timed(device, work)[1] for _ in range(repeats))


def _wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def _flops(config: Config, train_images: int) -> float:
    """Floating-point operations of an epoch. Nobody needs the gradient of the images, the first layer's input."""
    first = next(iter(layers(config)))
    return epoch_flops(config) - 2.0 * first.multiply_adds * train_images


def _activation_bytes(config: Config, trained: int, evaluated: int) -> float:
    """Bytes of activations that training on so many images and evaluating so many moves at least.

    Every layer's output is written once and read once. In training its gradient is, too, and the output is read a
    second time to compute it.
    """
    layer_bytes: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        layer_bytes.append(output.numel() * output.element_size())

    model = build(config).eval()
    for module in model.children():
        if not isinstance(module, nn.Flatten | TorchLayout):  # a view, and a choice of this project
            module.register_forward_hook(count)
    model(torch.zeros(1, 3, 32, 32))
    return sum(layer_bytes) * (5 * trained + 2 * evaluated)


if __name__ == "__main__":
    typer.run(main)
