"""What a config switches on computes what it says: network, loss, augmentation, averaging."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from tests.configs import EVERYTHING, EVERYTHING_ELSE, SMALL
from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Dataset
from trainable.files import entries_under
from trainable.learner import Learner
from trainable.model import TorchLayout, build
from trainable.optim import make_loss
from trainable.training import Trainer


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_pooling_first_is_the_reports_network(activation: str) -> None:
    """The report activates, then pools; the other order must be the same function with the same gradients."""
    torch.manual_seed(0)
    model = build(Config(activation=activation, batch_norm=True)).double()
    parts = [module for module in model if not isinstance(module, TorchLayout)]
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
    states = learner.model.state_dict(), plain.model.state_dict()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


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


FIRST_LOSSES = {
    "everything": (2.37294, 2.52894, 2.44869, 2.46268),
    "everything else": (2.49746, 2.41011, 2.40779, 2.50623),
}
"""The losses of seed 5 in the first two steps of the first two epochs, as a CPU computed them."""


@pytest.mark.parametrize(("name", "config"), [("everything", EVERYTHING), ("everything else", EVERYTHING_ELSE)])
def test_a_key_means_the_same_training_in_every_version_of_the_code(name: str, config: Config, digits: Dataset) -> None:
    """Initial weights, order of the batches, dropout and augmentation included. The rate is so low that no processor's
    rounding grows. Where this test fails and the change is meant, `RECIPE` must be raised, because the trials in a
    record are of another training then."""
    trainer = Trainer(config.change(lr=1e-6), digits, (3, 5))
    trainer.run_epoch()
    trainer.run_epoch()
    epoch_1, epoch_2 = trainer.step_losses()["seed_5"].view(2, -1)
    assert (*epoch_1[:2].tolist(), *epoch_2[:2].tolist()) == pytest.approx(FIRST_LOSSES[name], rel=1e-4)


def test_bf16_rounds_what_fp32_computes(digits: Dataset) -> None:
    """In training, and in the evaluation of the same network."""
    fp32, bf16 = (Trainer(Config(**SMALL, precision=precision), digits) for precision in ("fp32", "bf16"))
    (exact,), (rounded,) = (trainer.run_epoch().metrics["train_loss"] for trainer in (fp32, bf16))
    assert exact != rounded and rounded == pytest.approx(exact, rel=0.01)
    bf16.load_state_dict({**fp32.state_dict(), "config": bf16.config.model_dump(mode="json")})
    exact, rounded = (trainer.predictions()["seed_0/confidences"].float() for trainer in (fp32, bf16))
    assert not torch.equal(exact, rounded) and torch.allclose(exact, rounded, atol=0.05)
