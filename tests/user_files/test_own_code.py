"""A loss, an optimizer and a schedule of one's own: they train as those of the project do, resume exactly, and are
compared, searched over and taken back like any setting. A network of one's own is in test_own_network.py."""

import json
import pickle
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from analysis.smoothness import medians
from sweeps.planning.rates import Rates
from sweeps.studies.proof import proof_study
from tests.configs import SMALL, few
from tests.conftest import Command
from tests.own_code import (
    ADAM,
    ATTACK,
    CONTRASTIVE,
    COSINE,
    COUNTING,
    CROSS_ENTROPY,
    EXAMPLES,
    ON_THE_PAGE,
    SAM,
    TWICE,
    example,
    own,
    write_study,
)
from trainable.change import combine
from trainable.config import MOST_CHARACTERS, Config
from trainable.data import Dataset
from trainable.own_code.check import check_own_code
from trainable.own_code.code_file import CodeFile
from trainable.own_code.loading import OwnCodeError, problems_of
from trainable.problem import first_problem
from trainable.study import Study
from trainable.training import Trainer, train

DIGITS = ("--data", "digits", "--epochs", "1")
MIXUP = example("loss", "mixup.py", alpha=1.0)
LION = example("optimizer", "lion.py", beta1=0.9, beta2=0.99)
TRAPEZOID = example("schedule", "trapezoid.py", rise=0.1, fall=0.3)


@pytest.mark.parametrize(
    ("mine", "built_in"),
    [
        (own("loss", CROSS_ENTROPY, smoothing=0.1), {"label_smoothing": 0.1}),
        (own("optimizer", ADAM, beta=0.9), {}),
        (own("optimizer", ADAM, beta=0.9) | {"weight_decay": 0.1}, {"weight_decay": 0.1}),
        (own("optimizer", TWICE) | {"lr": 0.1}, {"optimizer": "sgd", "lr": 0.1}),
        (own("schedule", COSINE, floor=0), {"schedule": "cosine"}),
    ],
)
def test_one_that_computes_the_same_trains_to_the_same_numbers(
    mine: dict[str, Any], built_in: dict[str, Any], digits: Dataset
) -> None:
    data = few(digits)
    trained = [list(train(Config(**SMALL | each | {"epochs": 2, "batch_size": 64}), data)) for each in (mine, built_in)]
    for one, other in zip(*trained, strict=True):
        assert one.mean("train_loss") == pytest.approx(other.mean("train_loss"), rel=1e-5)
        assert one.metrics["test_error"] == pytest.approx(other.metrics["test_error"], abs=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        TRAPEZOID,
        MIXUP | LION | TRAPEZOID,
        own("loss", ATTACK, size=0.1) | {"batch_norm": True},
        own("optimizer", SAM) | {"lr": 0.05},
        own("optimizer", COUNTING) | {"lr": 0.05},
    ],
    ids=["trapezoid", "all", "attack", "sam", "counting"],
)
def test_it_trains_each_seed_apart_and_resumes_exactly(changes: dict[str, Any], digits: Dataset) -> None:
    config, data = Config(**SMALL | changes | {"epochs": 2}), few(digits)
    whole, half = Trainer(config, data, (0, 1), fused=True), Trainer(config, data, (0, 1), fused=True)
    for trainer in (whole, whole, half):
        trainer.run_epoch()
    resumed = Trainer(config, data, (0, 1), fused=True)
    resumed.load_state_dict(half.state_dict())
    assert resumed.run_epoch().metrics == whole.history[-1].metrics
    check_own_code(config)
    if config.own_code != ("schedule",):
        alone = Trainer(config, data, (1,))
        alone.run_epoch()
        assert alone.history[0].metrics["train_loss"] == whole.history[0].metrics["train_loss"][1:]


def test_a_loss_gets_scores_in_float32_whatever_the_precision(digits: Dataset) -> None:
    code = "def loss(network, images, labels):\n    scores = network(images)\n    assert scores.dtype.itemsize == 4\n"
    config = Config(**SMALL | own("loss", code + "    return scores.logsumexp(1)") | {"epochs": 1, "precision": "bf16"})
    (epoch,) = train(config, digits)
    assert epoch.mean("train_loss") > 0


def test_a_probe_finds_the_batch_mixed_as_the_step_did(digits: Dataset) -> None:
    """At a step size near zero it finds the step's own loss, and the training goes on as without it."""
    config = Config(**SMALL | MIXUP | {"epochs": 1, "lr": 1e-6})
    probed, plain = Trainer(config, digits, probe_every=3), Trainer(config, digits)
    assert probed.run_epoch().metrics == plain.run_epoch().metrics
    losses, probes = probed.step_losses()["seed_0"][::3], probed.probes()["seed_0"]
    assert torch.allclose(probes[:, 0, 0], losses, rtol=1e-4)


def test_the_text_and_the_arguments_are_the_identity() -> None:
    configs = [
        Config(**MIXUP),
        Config(**example("loss", "mixup.py", alpha=0.5)),
        Config(**own("loss", CROSS_ENTROPY, smoothing=0.0)),
        Config(),
    ]
    assert len({config.key("f") for config in configs}) == 4
    assert Config(**json.loads(configs[0].model_dump_json())) == configs[0]
    flat = configs[0].flat()
    assert flat["loss"].startswith("mixup.py ") and flat["loss.alpha"] == 1.0 and "loss_arguments" not in flat


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"loss": "focal"}, "loss 'focal': should be cross_entropy, hinge, or a Python file whose name ends in .py"),
        ({"optimizer": "lion.py"}, "optimizer 'lion.py': is not read here"),
        ({"loss_arguments": {"a": 1}}, "loss_arguments: a=1 has no effect here; it is allowed only where loss is a"),
        (MIXUP | {"label_smoothing": 0.1}, "label_smoothing: 0.1 has no effect here"),
        (LION | {"momentum": 0.5}, "momentum: 0.5 has no effect here"),
        ({"schedule": {"file": "a.txt", "code": ""}}, "schedule of one's own: file 'a.txt': String should match"),
        (own("schedule", "#" * MOST_CHARACTERS), "schedule: with this code (own.py 64,000) the config has"),
    ],
)
def test_a_config_refuses_what_means_nothing(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Config(**fields)
    assert problem in str(first_problem(refused.value, Config))


def test_only_a_schedule_leaves_seeds_to_be_fused() -> None:
    rates = Rates("cuda")
    fused = [rates.fuses_seeds(Config(**each)) for each in ({}, TRAPEZOID, MIXUP, LION, TRAPEZOID | LION)]
    assert fused == [True, True, False, False, False]


def test_another_loss_starts_without_the_arguments_of_the_one_before() -> None:
    assert Config(**combine(MIXUP, {"loss": "hinge"})) == Config(loss="hinge")
    assert combine(MIXUP, {"loss_arguments": {"alpha": 2.0}})["loss_arguments"] == {"alpha": 2.0}
    with pytest.raises(ValidationError, match="should be a mapping"):
        Config(**combine({}, MIXUP | {"loss_arguments": 0}))


def test_a_proof_takes_each_back_with_its_arguments() -> None:
    study = Study(name="own", title="own", search={"space": {"lr": {"low": 0.1, "high": 0.2}}})
    winner = Config(**MIXUP | LION | TRAPEZOID, lr=0.15)
    rows = proof_study(study, Config(), winner, 1, 1).tables[1].rows[1:]
    taken_back = [Config(**row.change).own_code for row in rows]
    assert sorted(taken_back) == [("loss", "optimizer"), ("loss", "schedule"), ("optimizer", "schedule")]
    assert rows[0].name.startswith("without loss mixup.py ")
    other, same = (Config(**example("loss", "mixup.py", alpha=alpha)) for alpha in (0.123456, 1.0))
    assert proof_study(study, same, other, 1, 1).tables[1].rows[1].name == "without loss_arguments alpha=0.123"


def test_the_surface_of_a_loss_of_ones_own_is_refused(here: Command, tmp_path: Path) -> None:
    write_study(tmp_path, "loss", CROSS_ENTROPY, "{smoothing: 0}", "surface")
    answer = here(*DIGITS, "--study", "mine.yaml", "--dry-run")
    assert answer.returncode == 2 and "measure surface" in answer.stderr and "mine.py" in answer.stderr


def test_the_examples_are_planned_and_options_name_files(here: Command, tmp_path: Path) -> None:
    planned = here(*DIGITS, "--study", str(EXAMPLES / "methods.yaml"), "--dry-run", "--json", "--seeds", "2")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["to_run"] == 10
    write_study(tmp_path, "optimizer", COUNTING)
    assert json.loads(here(*DIGITS, "--study", "mine.yaml", "--dry-run", "--json").stdout)["to_run"] == 2
    (tmp_path / "mine.py").write_text(COSINE)
    arguments = ("--set", "schedule=mine.py", "--set", 'schedule_arguments={"floor": 0.1}')
    planned = here(*DIGITS, "--only", "6", *arguments, "--dry-run", "--json")
    assert {each["config"]["schedule"]["file"] for each in json.loads(planned.stdout)["configs"]} == {"mine.py"}


def test_a_search_varies_single_arguments(here: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CROSS_ENTROPY)
    (tmp_path / "mine.yaml").write_text(
        "baseline: {loss: mine.py, loss_arguments: {smoothing: 0.0}}\n"
        "search: {space: {'loss_arguments[smoothing]': {low: 0.0, high: 0.2}}}\n"
    )
    plain = (*DIGITS, "--study", "mine.yaml", "--dry-run", "--json")
    planned = here(*plain, "--calibrate", "3")
    assert planned.returncode == 0, planned.stderr
    drawn = {each["config"]["loss_arguments"]["smoothing"] for each in json.loads(planned.stdout)["configs"]}
    assert len(drawn) == 3 and all(0 <= value <= 0.2 for value in drawn)
    (tmp_path / "mine.yaml").write_text((tmp_path / "mine.yaml").read_text().replace("high: 0.2", "high: 2.0"))
    refused = here(*plain)
    assert refused.returncode == 2 and "label_smoothing must be between" in refused.stderr


def test_the_code_on_the_page_is_that_of_the_files_and_runs() -> None:
    mixup, clipped = ON_THE_PAGE[:2]
    assert set(mixup.splitlines()) <= set((EXAMPLES / "mixup.py").read_text().splitlines())
    check_own_code(Config(**SMALL | own("optimizer", "import torch\n" + clipped)))


def test_a_loss_may_need_images_of_one_class() -> None:
    check_own_code(Config(**SMALL | own("loss", CONTRASTIVE)))


@pytest.mark.parametrize("error", [MemoryError("none left"), torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_runs_out_is_not_the_codes_fault(error: Exception) -> None:
    with pytest.raises(type(error)), problems_of("loss", CodeFile(file="own.py", code="")):
        raise error


def test_an_error_reaches_another_process() -> None:
    error = pickle.loads(pickle.dumps(OwnCodeError.of("loss", CodeFile(file="own.py", code=""), "is wrong")))
    assert str(error) == "loss own.py: is wrong"


def test_a_schedule_that_starts_at_zero_can_be_probed(digits: Dataset) -> None:
    trainer = Trainer(Config(**SMALL | TRAPEZOID | {"epochs": 1}), digits, probe_every=2)
    trainer.run_epoch()
    assert np.isfinite(astuple(medians(trainer.probes()["seed_0"].numpy()))).all()


def test_what_fails_in_training_says_where(digits: Dataset) -> None:
    code = CROSS_ENTROPY.replace("    return", "    assert len(images) < 100, 'too many'\n    return")
    config = Config(**SMALL | own("loss", code, smoothing=0.0) | {"batch_size": 128})
    with pytest.raises(OwnCodeError, match=r"loss own.py: loss\(smoothing=0.0\): line 5: AssertionError: too many"):
        list(train(config, digits))
