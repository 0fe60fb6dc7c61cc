"""What only a GPU shows: the same numbers as on the CPU, flat memory, and errors that say what to do."""

import gc
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from ray.tune import PlacementGroupFactory
from ray.tune.result import TRIAL_INFO
from torch import Tensor

from tests.configs import EVERYTHING_ELSE
from tests.configs import SMALL as SMALL_NETWORK
from tests.conftest import show_gpus
from tests.own_code import ADAM, COSINE, CROSS_ENTROPY, SOFTMAX_REGRESSION, TWICE, own
from tests.own_networks import NETWORK
from tests.specs import digits_spec
from trainable.batches import Batches
from trainable.config import Config, LossName, OptimizerName, ScheduleName
from trainable.data import Dataset, Split
from trainable.evaluate import correct_images
from trainable.fused import fuse
from trainable.graphs import GraphedStep
from trainable.landscape import Evaluator
from trainable.model import build
from trainable.own_code.code_file import CodeFile
from trainable.session import Session
from trainable.training import Trainer
from trainable.trial import TrialSpec
from trainable.tune_trainable import TuneTrainable, report_of, tune_config

pytestmark = [
    pytest.mark.gpu,
    # asked while tests are collected: CUDA then finds the GPUs that `tests.conftest` hides from other tests later
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine"),
]
BF16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
"""Whether the GPU computes in bf16, which none before Ampere does."""
SEEDS = (0, 4, 9)
SMALL = {**SMALL_NETWORK, "batch_size": 256}
"""Few steps, in which rounding does not grow."""
ROUNDING = 1e-2
"""The largest relative difference between losses that rounding makes. Another dropout mask makes a larger one."""


def values(field: str, names: Any) -> list[dict[str, Any]]:
    """A change of the baseline for each value of a field."""
    return [{field: value} for value in get_args(names)]


CHANGES = [
    *values("optimizer", OptimizerName),
    *values("loss", LossName),
    *values("schedule", ScheduleName),
    *values("activation", Config.model_fields["activation"].annotation),
    {"batch_norm": True, "ema_decay": 0.9, "label_smoothing": 0.1},
    {"flip": True, "shift": 2, "cutout": 8},
    {"flip": True, "flip_mode": "alternating"},
    {"optimizer": "momentum", "nesterov": True, "weight_decay": 0.1, "decay_norm_and_bias": False},
    *([{"precision": "bf16"}] if BF16 else []),
]


@pytest.fixture(autouse=True)
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    show_gpus(monkeypatch)


def eager(patch: pytest.MonkeyPatch) -> None:
    """Run steps as they are, without a graph."""
    patch.setattr(GraphedStep, "__call__", lambda self, *inputs: self._step(*inputs))


def trained(config: Config, data: Dataset, device: str, **options: Any) -> Trainer:
    trainer = Trainer(config, data, SEEDS, device, **options)
    trainer.run_epoch()
    return trainer


def assert_near(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.allclose(tensor, other[name], rtol=tolerance), name


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_fused_graphed_and_eager_are_the_cpus_training(change: dict[str, Any], digits: Dataset) -> None:
    config = Config(**SMALL, **change)
    tolerance = 5e-2 if config.precision == "bf16" else ROUNDING
    expected = trained(config, digits, "cpu").step_losses()
    assert_near(trained(config, digits, "cuda").step_losses(), expected, tolerance)
    assert_near(trained(config, digits, "cuda", fused=False).step_losses(), expected, tolerance)
    with pytest.MonkeyPatch.context() as patch:
        eager(patch)
        assert_near(trained(config, digits, "cuda").step_losses(), expected, tolerance)


def test_a_network_of_ones_own_trains_as_on_the_cpu_and_seeds_alone(digits: Dataset) -> None:
    arguments = {"width": 2, "pieces": 2}
    network = CodeFile(file="net.py", code=NETWORK)
    config = Config(data="digits", batch_size=256, network=network, network_arguments=arguments)
    own = trained(config, digits, "cuda")
    assert_near(own.step_losses(), trained(config, digits, "cpu").step_losses(), ROUNDING)
    assert [list(group) for group in own.state_dict()["groups"]] == [[seed] for seed in SEEDS]


@pytest.mark.parametrize(
    "change",
    [
        own("loss", CROSS_ENTROPY, smoothing=0.1),
        own("optimizer", ADAM, beta=0.8),
        own("optimizer", TWICE),
        own("schedule", COSINE, floor=0.1),
    ],
    ids=["loss", "optimizer", "closure", "schedule"],
)
def test_code_of_ones_own_trains_as_on_the_cpu(change: dict[str, Any], digits: Dataset) -> None:
    config = Config(**SMALL, **change)
    own = trained(config, digits, "cuda")
    assert_near(own.step_losses(), trained(config, digits, "cpu").step_losses(), ROUNDING)
    assert (len(own.state_dict()["groups"]) == 1) == ("schedule" in change)


def test_a_training_of_ones_own_gets_the_gpu(digits: Dataset) -> None:
    config = Config(data="digits", **own("training", SOFTMAX_REGRESSION, lr=0.1))
    on_gpu, on_cpu = (trained(config, digits, device).history[-1].metrics for device in ("cuda", "cpu"))
    assert on_gpu["train_loss"] == pytest.approx(on_cpu["train_loss"], rel=ROUNDING)
    assert on_gpu["test_error"] == pytest.approx(on_cpu["test_error"], abs=0.01)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_graph_draws_the_same_dropout_as_eager_steps(batch_norm: bool, digits: Dataset) -> None:
    config = Config(**SMALL, dropout=0.3, batch_norm=batch_norm)
    graphed = trained(config, digits, "cuda").step_losses()
    with pytest.MonkeyPatch.context() as patch:
        eager(patch)
        assert_near(graphed, trained(config, digits, "cuda").step_losses(), ROUNDING)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_probes_are_the_cpus_and_change_nothing(dropout: float, digits: Dataset) -> None:
    config = Config(**SMALL, batch_norm=True, dropout=dropout)
    plain, probed = (trained(config, digits, "cuda", probe_every=every) for every in (None, 5))
    assert_near(probed.step_losses(), plain.step_losses(), ROUNDING)
    if not dropout:
        assert_near(probed.probes(), trained(config, digits, "cpu", probe_every=5).probes(), 5e-2)


@pytest.mark.parametrize(
    "config",
    [EVERYTHING_ELSE.change(epochs=2), Config(data="digits", epochs=2, **own("training", SOFTMAX_REGRESSION, lr=0.1))],
    ids=["built in", "own"],
)
def test_a_resume_goes_on(config: Config, digits: Dataset) -> None:
    buffer = io.BytesIO()
    whole, half = trained(config, digits, "cuda"), trained(config, digits, "cuda")
    torch.save(half.state_dict(), buffer)
    buffer.seek(0)
    resumed = Trainer(config, digits, SEEDS, "cuda")
    resumed.load_state_dict(torch.load(buffer, map_location="cpu", weights_only=True))
    losses = [trainer.run_epoch().metrics["train_loss"] for trainer in (whole, resumed)]
    assert losses[1] == pytest.approx(losses[0], rel=ROUNDING)
    assert_near(resumed.step_losses(), whole.step_losses(), ROUNDING)


def test_a_surface_is_the_cpus(digits: Dataset) -> None:
    config = Config(**SMALL, batch_norm=True)
    weights = {name: tensor.numpy() for name, tensor in build(config).state_dict().items()}
    here, there = (Evaluator(config, digits, 1000, device).loss_and_error(weights) for device in ("cpu", "cuda"))
    assert there == pytest.approx(here, rel=1e-3, abs=2e-3)


def test_a_training_captures_one_graph_and_all_captures_use_one_stream(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, capture = [], torch.cuda.graph

    def counted(*arguments: Any, stream: torch.cuda.Stream, **named: Any) -> torch.cuda.graph:
        streams.append(stream)
        return capture(*arguments, stream=stream, **named)

    monkeypatch.setattr(torch.cuda, "graph", counted)
    config = Config(**SMALL)
    assert len(digits.train_labels) % config.batch_size, "the last batch is a partial one"
    for _ in range(2):
        trained(config, digits, "cuda", probe_every=5)
    assert len(streams) == 2 and len(set(streams)) == 1


def spec(config: Config, folder: Path) -> TrialSpec:
    return digits_spec(config, folder, seeds=tuple(range(8)))


@pytest.fixture
def no_search_for_cycles() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_memory_is_flat_over_ten_trials_of_an_actor(tmp_path: Path, no_search_for_cycles: None) -> None:
    given = SimpleNamespace(trial_resources=PlacementGroupFactory([{"CPU": 1, "GPU": 1}]))
    configs = [tune_config(spec(Config(**SMALL, lr=1e-3 * (trial + 1), epochs=2), tmp_path)) for trial in range(10)]
    actor, allocated, reserved = TuneTrainable({**configs[0], TRIAL_INFO: given}), [], []
    for config in configs:
        actor.reset_config(config)
        environment = report_of(actor.step()).environment
        assert environment is not None and environment.device == "cuda"
        allocated.append(torch.cuda.memory_allocated())
        reserved.append(torch.cuda.memory_reserved())
    assert max(allocated[1:]) < 1.05 * allocated[1]
    assert max(reserved[1:]) < 1.05 * reserved[1]


def test_an_evaluation_takes_no_more_memory_for_more_seeds() -> None:
    config, device, images = Config(batch_norm=True), torch.device("cuda"), 4000
    noise = np.random.default_rng(0)
    split = Split(noise.integers(256, size=(images, 32, 32, 3), dtype=np.uint8),
                  noise.integers(10, size=images, dtype=np.uint8), np.arange(images))  # fmt: skip
    batches, peaks = Batches(split, config, device), []
    for seeds in (1, 40):
        network = fuse([build(config) for _ in range(seeds)]).to(device).eval()
        correct_images(network, batches, seeds)  # libraries take their own memory at their first call
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        correct_images(network, batches, seeds)
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert peaks[1] < 3 * peaks[0]


def test_a_training_that_does_not_fit_says_what_to_change(tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (64 << 20)) / whole)
    try:
        with pytest.raises(MemoryError, match=r"out of GPU memory.*8 seed\(s\).*--gpus-per-trial"):
            Session(spec(Config(data="digits", network="vgg-a", epochs=1), tmp_path), "cuda").advance(1.0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
