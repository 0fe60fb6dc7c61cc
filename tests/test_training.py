"""Training computes what the study says, the same every time, and goes on exactly from a checkpoint."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import ROOT
from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Dataset, load
from trainable.learner import epoch_seed
from trainable.model import build
from trainable.optim import make_loss, make_optimizer, make_scheduler
from trainable.session import Session
from trainable.storage import entries_under
from trainable.training import Trainer, train
from trainable.trial import Epoch, TrialSpec

SMALL = {"data": "digits", "channels": (4, 8), "hidden": (32, 32)}
EVERYTHING = Config(
    **SMALL, protocol="B", batch_norm=True, bn_momentum=0.05, dropout=0.2, optimizer="adamw", schedule="one_cycle",
    lr=0.01, weight_decay=0.01, label_smoothing=0.1, flip=True, shift=2, epochs=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def test_it_learns_and_yields_what_the_protocol_says(digits: Dataset) -> None:
    epochs = list(train(Config(data="digits", epochs=5), digits, seeds=(0, 1)))
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5]
    assert set(epochs[0].metrics) == {"train_loss", "train_error", "test_error"}
    assert epochs[-1].mean("test_error") < 0.15
    assert epochs[-1].mean("test_error") == pytest.approx(sum(epochs[-1].metrics["test_error"]) / 2)
    held_out = list(train(Config(**SMALL, protocol="B", epochs=1), digits))
    assert set(held_out[0].metrics) == {"train_loss", "train_error", "val_error"}


def test_the_images_that_each_seed_gets_right_are_kept_as_bits(digits: Dataset) -> None:
    """Computed once more here, from the trained weights and in plain torch."""
    trainer = Trainer(Config(**SMALL, epochs=2), digits, (0, 4))
    while not trainer.done:
        trainer.run_epoch()
    correct, weights = trainer.correct_bits(), trainer.weights()
    assert list(correct) == ["seed_0", "seed_4"]
    images = torch.from_numpy(np.array(digits.test_images)).permute(0, 3, 1, 2) / 127.5 - 1
    for seed, error in zip((0, 4), trainer.history[-1].metrics["test_error"], strict=True):
        model = build(trainer.config).eval()
        model.load_state_dict(entries_under(f"seed_{seed}/", weights))
        right = model(images).argmax(1).numpy() == digits.test_labels
        assert np.array_equal(np.unpackbits(correct[f"seed_{seed}"].numpy(), count=len(right)), right)
        assert error == pytest.approx(1 - right.mean())


def test_same_config_and_seed_give_the_same_numbers_alone_or_together(digits: Dataset) -> None:
    together = [epoch.metrics for epoch in train(EVERYTHING, digits, seeds=(3, 5))]
    alone = [epoch.metrics for epoch in train(EVERYTHING, digits, seeds=(5,))]
    assert [{name: values[1:] for name, values in epoch.items()} for epoch in together] == alone
    assert together[0]["train_loss"][0] != together[0]["train_loss"][1]


def test_a_training_that_does_not_fit_says_what_to_change(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no GPU here to fill: the error that torch raises there is raised by hand."""

    def full(self: Trainer) -> Epoch:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "run_epoch", full)
    config = Config(**SMALL, lr=0.02)
    spec = TrialSpec(key=config.key(digits.fingerprint), name="x", config=config, seeds=(0, 1), data_dir=None,
                     fingerprint=digits.fingerprint, storage_path=str(tmp_path))  # fmt: skip
    with pytest.raises(MemoryError, match=r"out of GPU memory.*'lr': 0.02.*2 seed\(s\).*--gpus-per-trial"):
        Session(spec).advance(1.0)


def test_a_report_ends_where_it_must(digits: Dataset, tmp_path: Path) -> None:
    config = Config(**SMALL, epochs=5)
    spec = TrialSpec(key=config.key(digits.fingerprint), name="x", config=config, seeds=(0,), data_dir=None,
                     fingerprint=digits.fingerprint, storage_path=str(tmp_path), report_at=(1, 3))  # fmt: skip
    session = Session(spec)
    reports = [[epoch.number for epoch in session.advance(3600.0).epochs] for _ in range(3)]
    assert reports == [[1], [2, 3], [4, 5]]


def test_training_leaves_the_callers_generator_alone(digits: Dataset) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    list(train(Config(**SMALL, epochs=1, dropout=0.5), digits))
    assert torch.equal(torch.rand(3), expected)


def test_batch_order_depends_on_seed_and_epoch_alone(digits: Dataset) -> None:
    def order(config: Config, seed: int, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        batches = Batches(digits.splits("A")["train"], config, torch.device("cpu"))
        return torch.cat([batches.load(*batch)[1] for batch in batches.shuffled([generator])]).flatten().tolist()

    plain, other = Config(data="digits"), Config(data="digits", dropout=0.5, flip=True, shift=3, optimizer="sgd")
    assert order(plain, 0, 1) == order(other, 0, 1)
    assert order(plain, 0, 1) != order(plain, 0, 2)
    assert order(plain, 0, 1) != order(plain, 1, 1)
    assert sorted(order(plain, 0, 1)) == sorted(digits.train_labels.tolist())


def test_a_resume_in_another_process_is_exact(digits: Dataset, tmp_path: Path) -> None:
    whole = Trainer(EVERYTHING, digits, (0, 1))
    while not whole.done:
        whole.run_epoch()
    half = Trainer(EVERYTHING, digits, (0, 1))
    half.run_epoch()
    half.run_epoch()
    torch.save(half.state_dict(), tmp_path / "half.pt")
    (tmp_path / "config.json").write_text(EVERYTHING.model_dump_json())
    script = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from trainable.config import Config\n"
        "from trainable.data import load\n"
        "from trainable.training import Trainer\n"
        "folder = Path(sys.argv[1])\n"
        "config = Config.model_validate_json((folder / 'config.json').read_text())\n"
        "trainer = Trainer(config, load('digits'), (0, 1))\n"
        "trainer.load_state_dict(torch.load(folder / 'half.pt', weights_only=True))\n"
        "trainer.run_epoch(); trainer.run_epoch()\n"
        "torch.save(trainer.state_dict(), folder / 'whole.pt')\n"
    )
    threads = str(torch.get_num_threads())
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=True, timeout=120,
                   env={"OMP_NUM_THREADS": threads, "XDG_CACHE_HOME": _cache()})  # fmt: skip
    resumed = torch.load(tmp_path / "whole.pt", weights_only=True)
    expected = whole.state_dict()
    for state in (resumed, expected):
        for epoch in state["history"]:
            del epoch["seconds"]
    _assert_equal(resumed, expected)


def _cache() -> str:
    import os

    return os.environ["XDG_CACHE_HOME"]


def _assert_equal(left: object, right: object) -> None:
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)  # type: ignore[arg-type]
    elif isinstance(left, dict):
        assert left.keys() == right.keys()  # type: ignore[attr-defined]
        for name in left:
            _assert_equal(left[name], right[name])  # type: ignore[index]
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)  # type: ignore[arg-type]
        for one, other in zip(left, right, strict=True):  # type: ignore[call-overload]
            _assert_equal(one, other)
    else:
        assert left == right


def test_a_checkpoint_of_another_config_is_refused(digits: Dataset) -> None:
    saved = Trainer(Config(**SMALL), digits).state_dict()
    with pytest.raises(ValueError, match="the checkpoint is of"):
        Trainer(Config(**SMALL, lr=0.5), digits).load_state_dict(saved)


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_pooling_first_is_the_reports_network(activation: str) -> None:
    """The report activates, then pools; the other order must be the same function with the same gradients."""
    torch.manual_seed(0)
    model = build(Config(activation=activation, batch_norm=True)).double()
    parts = list(model)
    swapped = list(parts)
    for index, module in enumerate(parts):
        if isinstance(module, nn.MaxPool2d):
            swapped[index], swapped[index + 1] = parts[index + 1], module
    reports = nn.Sequential(*swapped)
    images = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    gradients = []
    for network in (model, reports):
        network.zero_grad()
        network(images).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_losses_are_the_reports() -> None:
    scores, labels = torch.tensor([[2.0, 1.0, 0.5], [0.0, 3.0, 2.5]]), torch.tensor([0, 2])
    hinge = make_loss(Config(loss="hinge"))(scores, labels).mean()
    assert hinge.item() == pytest.approx(((1 - 2 + 1) / 3 + (1 - 2.5 + 3) / 3) / 2)
    smooth = make_loss(Config(label_smoothing=0.3))(scores, labels).mean()
    target = torch.full((2, 3), 0.1).scatter(1, labels[:, None], 0.8)
    assert smooth.item() == pytest.approx(-(target * scores.log_softmax(1)).sum(1).mean().item())


def test_weight_decay_is_coupled_but_for_adamw() -> None:
    def moved(optimizer: str) -> float:
        parameter = nn.Parameter(torch.tensor([10.0]))
        engine = make_optimizer(Config(optimizer=optimizer, lr=0.1, weight_decay=0.5), [parameter])
        parameter.grad = torch.zeros(1)
        engine.step()
        return 10.0 - parameter.item()

    assert moved("sgd") == pytest.approx(0.1 * 0.5 * 10)
    assert moved("adam") == pytest.approx(0.1, rel=1e-3)  # the penalty is in the gradient: one normalised step
    assert moved("adamw") == pytest.approx(0.1 * 0.5 * 10)  # the penalty alone


def test_schedules_span_the_training() -> None:
    rates = {}
    for schedule in ("cosine", "one_cycle"):
        config = Config(schedule=schedule, lr=0.1)
        engine = make_optimizer(config, [nn.Parameter(torch.zeros(1))])
        scheduler = make_scheduler(config, engine, 100)
        assert scheduler is not None
        rates[schedule] = []
        for _ in range(100):
            rates[schedule].append(engine.param_groups[0]["lr"])
            engine.step()
            scheduler.step()
    assert rates["cosine"][0] == pytest.approx(0.1)
    assert rates["cosine"][-1] < 1e-4
    assert max(rates["one_cycle"]) == pytest.approx(0.1)
    assert rates["one_cycle"][0] < 0.01


def test_augmentation_flips_and_shifts_by_reflection(digits: Dataset) -> None:
    split = digits.splits("A")["train"]
    device = torch.device("cpu")
    plain = Batches(split, Config(data="digits", batch_size=64), device)
    moved = Batches(split, Config(data="digits", batch_size=64, flip=True, shift=2), device)
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    (before, labels), (after, same) = (
        batches.load(*next(batches.shuffled([generator])))
        for batches, generator in zip((plain, moved), generators, strict=True)
    )
    assert torch.equal(labels, same)
    seen = set()
    for original, image in zip(before, after, strict=True):
        padded = nn.functional.pad(original, (2, 2, 2, 2), mode="reflect")
        matches = [
            (flipped, down, right)
            for flipped in (False, True)
            for down in range(5)
            for right in range(5)
            if torch.equal(
                image,
                (lambda crop, f: crop.flip(2) if f else crop)(padded[:, down : down + 32, right : right + 32], flipped),
            )
        ]
        assert matches, "an augmented image is a flipped, reflected crop of its original"
        seen.add(matches[0])
    assert len(seen) > 10


def test_images_are_normalised_to_plus_minus_one(digits: Dataset) -> None:
    batches = Batches(digits.test, Config(data="digits"), torch.device("cpu"))
    images, labels = next(batches.in_order())
    expected = (digits.test_images[: len(labels)].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5
    assert np.allclose(images.numpy(), expected, atol=1e-6)
    assert images.is_contiguous(memory_format=torch.channels_last)
