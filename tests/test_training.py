"""Training computes what the study says, the same every time, and goes on exactly from a checkpoint."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from tests.conftest import ROOT
from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Dataset, load
from trainable.fused import fuse
from trainable.learner import Learner, epoch_seed
from trainable.model import build
from trainable.optim import make_loss, make_optimizer, make_scheduler, parameter_groups
from trainable.session import Session
from trainable.storage import entries_under
from trainable.training import Trainer, train
from trainable.trial import Epoch, TrialSpec

SMALL = {"data": "digits", "channels": (4, 8), "hidden": (32, 32)}
EVERYTHING = Config(
    **SMALL, protocol="B", batch_norm=True, bn_momentum=0.05, dropout=0.2, optimizer="adamw", schedule="one_cycle",
    lr=0.01, weight_decay=0.01, label_smoothing=0.1, flip=True, shift=2, epochs=4,
)  # fmt: skip
EVERYTHING_ELSE = Config(
    **SMALL, batch_norm=True, optimizer="momentum", nesterov=True, schedule="one_cycle", warmup=0.2, lr=0.02,
    weight_decay=0.01, decay_norm_and_bias=False, bn_bias_lr_factor=8, flip=True, flip_mode="alternating", cutout=8,
    ema_decay=0.95, epochs=4,
)  # fmt: skip
"""The features that `EVERYTHING` does not have."""


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


def test_a_good_recipe_learns_in_few_epochs(digits: Dataset) -> None:
    config = Config(
        data="digits", batch_norm=True, bn_momentum=0.4, optimizer="adamw", schedule="one_cycle", lr=0.01,
        weight_decay=0.03, decay_norm_and_bias=False, label_smoothing=0.1, batch_size=256, shift=2, ema_decay=0.95,
        epochs=5,
    )  # fmt: skip
    *_, last = train(config, digits, seeds=(0, 1))
    assert max(last.metrics["test_error"]) < 0.1


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


@pytest.mark.parametrize("config", [EVERYTHING, EVERYTHING_ELSE])
def test_a_resume_in_another_process_is_exact(config: Config, digits: Dataset, tmp_path: Path) -> None:
    whole = Trainer(config, digits, (0, 1))
    while not whole.done:
        whole.run_epoch()
    half = Trainer(config, digits, (0, 1))
    half.run_epoch()
    half.run_epoch()
    torch.save(half.state_dict(), tmp_path / "half.pt")
    (tmp_path / "config.json").write_text(config.model_dump_json())
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


def test_a_checkpoint_from_before_weights_were_averaged_still_fits(digits: Dataset) -> None:
    config = Config(**SMALL, optimizer="momentum", epochs=2)
    trainer = Trainer(config, digits)
    trainer.run_epoch()
    saved = deepcopy(trainer.state_dict())
    saved["config"] = config.canonical()
    del saved["learners"][0]["average"]
    resumed = Trainer(config, digits)
    resumed.load_state_dict(saved)
    assert resumed.run_epoch().metrics == trainer.run_epoch().metrics


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


@pytest.mark.parametrize("seeds", [1, 2])
def test_weight_decay_can_leave_norm_and_bias(seeds: int) -> None:
    config = Config(batch_norm=True, optimizer="adamw", lr=0.1, weight_decay=0.5, decay_norm_and_bias=False)
    model = fuse([build(config) for _ in range(seeds)])
    before = _step(config, model, gradient=0.0)
    for name, parameter in model.named_parameters():
        is_decayed = name.endswith("weight") and not name.startswith("norm")
        assert torch.allclose(parameter, before[name] * (1 - 0.1 * 0.5 if is_decayed else 1.0)), name


@pytest.mark.parametrize("seeds", [1, 2])
def test_biases_of_batch_norm_can_learn_faster(seeds: int) -> None:
    config = Config(batch_norm=True, optimizer="sgd", lr=0.1, bn_bias_lr_factor=4)
    model = fuse([build(config) for _ in range(seeds)])
    before = _step(config, model, gradient=1.0)
    for name, parameter in model.named_parameters():
        rate = 0.4 if name.startswith("norm") and name.endswith("bias") else 0.1
        assert torch.allclose(before[name] - parameter, torch.tensor(rate), atol=1e-6), name


def _step(config: Config, model: nn.Module, gradient: float) -> dict[str, torch.Tensor]:
    """Step once with the same gradient for all parameters; returns these as they were before."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    make_optimizer(config, parameter_groups(config, model)).step()
    return before


def test_parameters_are_one_group_where_nothing_sets_them_apart() -> None:
    """Checkpoints from before there were groups must fit."""
    config = Config(batch_norm=True, optimizer="adamw", weight_decay=0.1)
    model = build(config)
    ours, plain = (
        make_optimizer(config, parameters) for parameters in (parameter_groups(config, model), model.parameters())
    )
    assert ours.state_dict() == plain.state_dict()
    assert [id(each) for each in ours.param_groups[0]["params"]] == [id(each) for each in model.parameters()]


def test_nesterov_momentum_is_the_papers() -> None:
    """On the loss x**2 / 2, whose gradient is x."""
    parameter = nn.Parameter(torch.tensor([1.0]))
    engine = make_optimizer(Config(optimizer="momentum", nesterov=True, lr=0.1, momentum=0.5), [parameter])
    x, velocity = 1.0, 0.0
    for _ in range(3):
        parameter.grad = parameter.detach().clone()
        engine.step()
        velocity = 0.5 * velocity + x
        x -= 0.1 * (x + 0.5 * velocity)
        assert parameter.item() == pytest.approx(x)


@pytest.mark.parametrize(("warmup", "peak"), [(0.3, 29), (0.1, 9), (0.01, 0)])
def test_one_cycle_rises_for_a_share_of_the_steps(warmup: float, peak: int) -> None:
    config = Config(schedule="one_cycle", warmup=warmup, lr=0.1, batch_norm=True, bn_bias_lr_factor=4)
    engine = make_optimizer(config, parameter_groups(config, build(config)))
    scheduler = make_scheduler(config, engine, 100)
    assert scheduler is not None
    rates = []
    for _ in range(100):
        rates.append(scheduler.get_last_lr())
        engine.step()
        scheduler.step()
    for rates_of_group, highest in zip(zip(*rates, strict=True), (0.1, 0.4), strict=True):
        assert int(np.argmax(rates_of_group)) == peak
        assert max(rates_of_group) == pytest.approx(highest)


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


def test_alternating_flips_show_each_image_mirrored_every_second_epoch(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = digits.splits("A")["train"]
    originals = torch.from_numpy(np.array(split.images)).permute(0, 3, 1, 2) / 127.5 - 1
    lopsided = torch.tensor([not torch.equal(image, image.flip(2)) for image in originals])
    load_batch, batches_seen = Batches.load, []

    def observed(self: Batches, rows_ns: torch.Tensor, augmentation_nsa: torch.Tensor) -> tuple:
        images, labels = load_batch(self, rows_ns, augmentation_nsa)
        batches_seen.append((rows_ns[:, 0], images))
        return images, labels

    def mirrored(seed: int) -> list[torch.Tensor]:
        config, device = Config(**SMALL, batch_size=256, flip=True, flip_mode="alternating"), torch.device("cpu")
        learner = Learner(config, (seed,), Batches(split, config, device), device)
        epochs = []
        for epoch in (1, 2, 3):
            batches_seen.clear()
            learner.train(epoch)
            is_mirrored = torch.full((len(originals),), False)
            for rows, images in batches_seen:
                is_mirrored[rows] = (images - originals[rows].flip(3)).abs().amax((1, 2, 3)) < 1e-6
            epochs.append(is_mirrored[lopsided])
        return epochs

    monkeypatch.setattr(Batches, "load", observed)
    first, second, third = mirrored(0)
    assert torch.equal(first, ~second) and torch.equal(first, third)
    assert 0.4 < first.float().mean() < 0.6
    assert 0.4 < (mirrored(1)[0] == first).float().mean() < 0.6


def test_cutout_makes_a_square_grey_and_changes_nothing_else(digits: Dataset) -> None:
    split, device = digits.splits("A")["train"], torch.device("cpu")
    epochs = []
    for cutout in (0, 7):
        batches = Batches(split, Config(data="digits", flip=True, shift=2, cutout=cutout), device)
        generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
        loaded = [batches.load(*batch) for batch in batches.shuffled(generators)]
        epochs.append([torch.cat(parts) for parts in zip(*loaded, strict=True)])
    (plain, labels), (cut, same) = epochs
    assert torch.equal(labels, same)
    grey = cut == 0  # no pixel of an image is: 0 lies between the values 127 and 128
    assert torch.equal(cut, plain.masked_fill(grey, 0))
    area = grey.unflatten(1, (2, 3))
    assert torch.equal(area.all(2), area.any(2))
    height, width = (area[:, :, 0].any(axis).sum(-1) for axis in (-1, -2))
    assert torch.equal(area[:, :, 0].sum((-1, -2)), height * width)
    assert height.unique().tolist() == width.unique().tolist() == [4, 5, 6, 7]  # the border cuts up to three pixels
    assert (height == 7).float().mean() == pytest.approx(26 / 32, abs=0.03)
    alone = Batches(split, Config(data="digits", cutout=7), device)
    (images, _), *_ = (alone.load(*batch) for batch in alone.shuffled([torch.Generator().manual_seed(1)]))
    assert (images == 0).any((1, 2, 3)).all()


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_the_result_is_the_moving_average_of_the_networks_after_each_step(
    digits: Dataset, seeds: tuple[int, ...]
) -> None:
    config, device = Config(**SMALL, batch_norm=True, batch_size=600, ema_decay=0.3), torch.device("cpu")
    batches = Batches(digits.splits("A")["train"], config, device)
    learner, plain = (Learner(each, seeds, batches, device) for each in (config, config.change(ema_decay=0.0)))
    expected = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    keep = iter((2 / 11, 3 / 12, 0.3, 0.3, 0.3, 0.3))

    def average(*_: object) -> None:
        share = next(keep)
        for name, latest in learner.model.state_dict().items():
            if latest.is_floating_point():
                expected[name] = share * expected[name] + (1 - share) * latest
            else:
                expected[name] = latest.clone()

    hook = register_optimizer_step_post_hook(average)
    losses = [learner.train(epoch) for epoch in (1, 2)]
    hook.remove()
    assert next(keep, None) is None
    for name, tensor in learner.result.state_dict().items():
        assert torch.allclose(tensor, expected[name], rtol=1e-5, atol=1e-7), name
        assert tensor.dtype == expected[name].dtype
    assert losses == [plain.train(epoch) for epoch in (1, 2)]
    _assert_equal(dict(learner.model.state_dict()), dict(plain.model.state_dict()))


def test_an_averaged_network_is_evaluated_and_recorded_beside_the_plain_one(digits: Dataset) -> None:
    trainer = Trainer(Config(**SMALL, batch_norm=True, ema_decay=0.9, epochs=1), digits)
    metrics = trainer.run_epoch().metrics
    averaged, plain = build(trainer.config).eval(), build(trainer.config).eval()
    averaged.load_state_dict(entries_under("seed_0/", trainer.weights()))
    plain.load_state_dict(trainer.state_dict()["learners"][0]["model"])
    for prefix, model in (("", averaged), ("raw_", plain)):
        for split, pixels, labels in (
            ("train", digits.train_images, digits.train_labels), ("test", digits.test_images, digits.test_labels)
        ):  # fmt: skip
            if prefix and split == "train":
                assert "raw_train_error" not in metrics, "it would cost most of the evaluation again"
                continue
            images = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2) / 127.5 - 1
            right = model(images).argmax(1).numpy() == labels
            assert metrics[f"{prefix}{split}_error"] == pytest.approx([1 - right.mean()])
            if prefix == "" and split == "test":
                bits = np.unpackbits(trainer.correct_bits()["seed_0"].numpy(), count=len(right))
                assert np.array_equal(bits, right)
    assert metrics["test_error"] != metrics["raw_test_error"]
    assert torch.equal(trainer.kernels[-1], averaged[0].weight)
    held_out = Trainer(Config(**SMALL, protocol="B", ema_decay=0.9, epochs=1), digits).run_epoch()
    assert {"val_error", "raw_val_error"} < set(held_out.metrics)


def test_images_are_normalised_to_plus_minus_one(digits: Dataset) -> None:
    batches = Batches(digits.test, Config(data="digits"), torch.device("cpu"))
    images, labels = next(batches.in_order())
    expected = (digits.test_images[: len(labels)].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5
    assert np.allclose(images.numpy(), expected, atol=1e-6)
    assert images.is_contiguous(memory_format=torch.channels_last)
