"""Training computes what the study says, the same every time, and goes on exactly from a checkpoint."""

import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.configs import EVERYTHING, EVERYTHING_ELSE, SMALL, few
from tests.conftest import ROOT
from tests.specs import digits_spec
from trainable.batches import Batches
from trainable.config import Config, Protocol
from trainable.data import Dataset
from trainable.files import CORRECT, PREDICTIONS, WEIGHTS, entries_under
from trainable.learner import epoch_seed
from trainable.model import build
from trainable.session import Session
from trainable.storage import TrialStorage
from trainable.training import Trainer, train


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


@pytest.mark.parametrize("fused", [False, True])
def test_predictions_are_those_of_plain_torch_with_and_without_flips(digits: Dataset, fused: bool) -> None:
    trainer = Trainer(Config(**SMALL, batch_norm=True, ema_decay=0.9, epochs=2), digits, (0, 4), fused=fused)
    while not trainer.done:
        trainer.run_epoch()
    assert PREDICTIONS not in trainer.results(), "only where they are asked for"
    predicted = trainer.results(predictions=True)[PREDICTIONS]
    assert np.array_equal(predicted["labels"].numpy(), digits.test_labels)
    images = torch.from_numpy(np.array(digits.test_images)).permute(0, 3, 1, 2) / 127.5 - 1
    for seed, error in zip((0, 4), trainer.history[-1].metrics["test_error"], strict=True):
        model = build(trainer.config).eval()
        model.load_state_dict(entries_under(f"seed_{seed}/", trainer.weights()))
        with torch.inference_mode():
            plain, mirrored = (model(each).softmax(1) for each in (images, images.flip(3)))
        for kind, expected in (("", plain), ("flipped_", (plain + mirrored) / 2)):
            assert torch.equal(predicted[f"seed_{seed}/{kind}classes"].long(), expected.argmax(1))
            confidences = predicted[f"seed_{seed}/{kind}confidences"]
            assert torch.allclose(confidences.float(), expected.max(1).values, atol=1e-3)
        wrong = predicted[f"seed_{seed}/classes"].numpy() != digits.test_labels
        assert wrong.mean() == pytest.approx(error)


def test_predictions_are_the_same_after_a_resume_and_change_nothing_else(tmp_path: Path) -> None:
    config = EVERYTHING_ELSE.change(epochs=2)

    def files(folder: str, predictions: bool, stop_after: int) -> dict[str, bytes | None]:
        """What a trial leaves that goes on in another process after so many epochs."""
        spec = digits_spec(config, tmp_path / folder, seeds=(0, 1), predictions=predictions, report_at=(stop_after,))
        session = Session(spec)
        session.advance(3600.0)
        session.save()
        goes_on = Session(spec)
        assert any(goes_on.advance(3600.0).done for _ in range(2))
        storage = TrialStorage(spec.experiment_folder, spec.key, spec.seeds)
        return {name: storage.read(name) for name in (WEIGHTS, CORRECT, PREDICTIONS)}

    whole = files("whole", True, stop_after=2)
    assert whole[PREDICTIONS] is not None
    assert files("resumed", True, stop_after=1) == whole
    assert files("plain", False, stop_after=2) == {**whole, PREDICTIONS: None}


def test_same_config_and_seed_give_the_same_numbers_alone_or_together(digits: Dataset) -> None:
    together = [epoch.metrics for epoch in train(EVERYTHING, few(digits), seeds=(3, 5))]
    alone = [epoch.metrics for epoch in train(EVERYTHING, few(digits), seeds=(5,))]
    assert [{name: values[1:] for name, values in epoch.items()} for epoch in together] == alone
    assert together[0]["train_loss"][0] != together[0]["train_loss"][1]


@pytest.mark.parametrize("seeds", [(), (0, 1, 0)])
def test_seeds_are_named_once_each(seeds: tuple[int, ...], digits: Dataset) -> None:
    with pytest.raises(ValueError, match="must be one or more, each named once"):
        Trainer(Config(**SMALL), digits, seeds)


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


GO_ON = """
import sys, torch
from pathlib import Path
from trainable.config import Config
from trainable.data import load
from trainable.training import Trainer
from tests.configs import few

for folder in map(Path, sys.argv[1:]):
    config = Config.model_validate_json((folder / "config.json").read_text())
    trainer = Trainer(config, few(load("digits")), (0, 1))
    trainer.load_state_dict(torch.load(folder / "half.pt", weights_only=True))
    trainer.run_epoch()
    trainer.run_epoch()
    torch.save(trainer.state_dict(), folder / "whole.pt")
"""


def test_a_resume_in_another_process_is_exact(digits: Dataset, tmp_path: Path) -> None:
    expected: dict[Path, dict[str, Any]] = {}
    for config in (EVERYTHING, EVERYTHING_ELSE, EVERYTHING.change(optimizer="muon")):
        folder = tmp_path / config.key("")
        folder.mkdir()
        whole, half = (Trainer(config, few(digits), (0, 1)) for _ in range(2))
        while not whole.done:
            whole.run_epoch()
        for _ in range(2):
            half.run_epoch()
        torch.save(half.state_dict(), folder / "half.pt")
        (folder / "config.json").write_text(config.model_dump_json())
        expected[folder] = whole.state_dict()
    environment = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}
    command = [sys.executable, "-c", GO_ON, *map(str, expected)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120, env=environment)
    for folder, of_whole in expected.items():
        resumed = torch.load(folder / "whole.pt", weights_only=True)
        for state in (resumed, of_whole):
            for epoch in state["history"]:
                del epoch["seconds"]
        _assert_equal(resumed, of_whole)


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
    with pytest.raises(ValueError, match="on cuda"):  # whose dropout draws other masks
        Trainer(Config(**SMALL), digits).load_state_dict(saved | {"device": "cuda"})


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


@pytest.mark.parametrize(("protocol", "arrays"), [("A", 2), ("B", 1)])
def test_images_go_to_the_device_once(digits: Dataset, protocol: Protocol, arrays: int) -> None:
    class Uploads(TorchFunctionMode):
        images = 0

        def __torch_function__(
            self, function: Callable, types: object, arguments: tuple = (), named: dict | None = None
        ) -> object:
            self.images += function is torch.Tensor.to and arguments[0].shape[1:] == (32, 32, 3)
            return function(*arguments, **(named or {}))

    with Uploads() as uploads:
        Trainer(Config(**SMALL, protocol=protocol), digits)
    assert uploads.images == arrays


def test_images_are_normalised_to_plus_minus_one(digits: Dataset) -> None:
    batches = Batches(digits.test, Config(data="digits"), torch.device("cpu"))
    images, labels = next(batches.in_order())
    expected = (digits.test_images[: len(labels)].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5
    assert np.allclose(images.numpy(), expected, atol=1e-6)
    assert images.is_contiguous(memory_format=torch.channels_last)
