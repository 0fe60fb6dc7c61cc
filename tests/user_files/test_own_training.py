"""A training of one's own: the project evaluates it, and it resumes exactly."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from analysis.record.mlflow_record import Record
from sweeps.planning.rates import Rates, Timing
from sweeps.recording.trial_runs import summarise
from sweeps.studies.proof import proof_study
from tests.conftest import ONE_SLOT, Command
from tests.own_code import EXAMPLES, SOFTMAX_REGRESSION, example, own
from tests.specs import digits_spec
from trainable.change import combine
from trainable.config import Config
from trainable.data import Dataset
from trainable.own_code.check import check_own_code
from trainable.own_code.loading import OwnCodeError
from trainable.problem import first_problem
from trainable.session import Session
from trainable.study import Study
from trainable.training import Trainer, train

DIGITS = {"data": "digits", "epochs": 3}
FOREST = example("training", "forest.py", trees=5, leaf=1)
SOFTMAX = own("training", SOFTMAX_REGRESSION, lr=0.1)
COUNTS = """
import torch

class Counts:
    def __init__(self, images, labels):
        self.size = len(labels)
    def train_epoch(self, epoch):
        pass
    def predict(self, images):
        answers = torch.zeros(len(images), 10)
        answers[:, self.size % 10] = 1
        return answers

def training(images, labels, seed, epochs, device):
    return Counts(images, labels)
"""
COUNTING = "from itertools import count\nn = count()\n" + COUNTS.replace("self.size %", "next(n) %")
"""It predicts something else each time."""
FORGETFUL = re.sub(r'(?m), "optimizer": .*(?=})|^.*optimizer.load.*$', "", SOFTMAX_REGRESSION).replace("SGD", "Adam")
"""It does not save what Adam knows."""


@pytest.mark.parametrize("protocol", ["A", "B"])
def test_the_project_computes_the_errors_of_every_image(protocol: str, digits: Dataset) -> None:
    """The model always answers with the last digit of the number of images that it was given."""
    config = Config(**DIGITS | own("training", COUNTS), protocol=protocol)
    splits = digits.splits(protocol)
    answer = len(splits["train"]) % 10
    *_, last = train(config, digits, (0, 1))
    assert last.number == 3 and "train_loss" not in last.metrics
    for name, split in splits.items():
        wrong = (split.labels[split.index] != answer).mean()
        assert last.metrics[f"{name}_error"] == pytest.approx([wrong, wrong])
    assert last.metrics.keys() == {f"{name}_error" for name in splits}


def test_the_numbers_of_an_epoch_are_recorded_by_name(digits: Dataset) -> None:
    code = COUNTS.replace(
        "pass", "return {'loss': 2 if epoch < 3 else None, 'rate_error': epoch} | ({'late': 1.5} if epoch > 1 else {})"
    )
    epochs = list(train(Config(**DIGITS | own("training", code)), digits, (0, 1)))
    assert [epoch.metrics.get("train_loss") for epoch in epochs] == [[2.0, 2.0], [2.0, 2.0], None]
    assert [epoch.metrics["own/rate_error"] for epoch in epochs] == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    assert ["own/late" in epoch.metrics for epoch in epochs] == [False, True, True]
    assert not any(name.startswith("best_own") for name in summarise(epochs))


def test_the_example_learns_and_its_predictions_are_recorded(digits: Dataset) -> None:
    trainer = Trainer(Config(**DIGITS | FOREST), digits, (0, 1))
    while not trainer.done:
        trainer.run_epoch()
    assert max(trainer.history[-1].metrics["test_error"]) < 0.1
    predicted = trainer.results(predictions=True)["predictions.safetensors"]
    wrong = (predicted["seed_1/classes"] != predicted["labels"]).double().mean().item()
    assert trainer.history[-1].metrics["test_error"][1] == pytest.approx(wrong)
    assert not torch.equal(*(predicted[f"seed_{seed}/confidences"] for seed in (0, 1))), "each has a forest of its own"
    assert not torch.equal(predicted["seed_0/flipped_classes"], predicted["seed_0/classes"])


def test_the_loop_of_the_page_trains_and_resumes_exactly(digits: Dataset) -> None:
    config = Config(**DIGITS | SOFTMAX)
    check_own_code(config)
    whole, half = (Trainer(config, digits, (0, 1), fused=True) for _ in range(2))
    for trainer in (whole, whole, whole, half):
        trainer.run_epoch()
    torch.manual_seed(1)
    resumed = Trainer(config, digits, (0, 1), fused=True)
    resumed.load_state_dict(half.state_dict())
    assert [resumed.run_epoch().metrics for _ in range(2)] == [epoch.metrics for epoch in whole.history[1:]]
    losses = [epoch.metrics["train_loss"] for epoch in whole.history]
    assert losses[2] < losses[0] and losses[0][0] != losses[0][1]
    assert max(whole.history[-1].metrics["test_error"]) < 0.3


@pytest.mark.parametrize(("changes", "resumed"), [(SOFTMAX, 2), (FOREST, 0)], ids=["saved", "not saved"])
def test_an_interrupted_trial_goes_on_where_its_code_can_save_it(
    tmp_path: Path, changes: dict[str, Any], resumed: int
) -> None:
    spec = digits_spec(Config(**DIGITS | changes), tmp_path, report_at=(2,))
    stopped = Session(spec)
    before = stopped.advance(3600.0)
    stopped.save()
    goes_on = Session(spec)
    reports = [goes_on.advance(3600.0) for _ in range(2)]
    assert reports[0].resumed == resumed and reports[-1].done and not reports[0].warnings
    assert [epoch.metrics for epoch in reports[0].epochs] == [epoch.metrics for epoch in before.epochs]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("x = 1", "must define a function training"),
        ("def training(*given): return 3", "the object that it returns must have a method train_epoch"),
        (COUNTS.replace("def predict", "def tell"), "must have a method predict"),
        (COUNTS.replace("def predict", "def state_dict(self): 0\n    def predict"), "load_state_dict, or neither"),
        ("def training(*given): pass", "must have a method train_epoch; it returned NoneType"),
        (COUNTS.replace("] = 1", "] = 2"), "sum to 1 for each image: the lowest is 0, and the sums are 2 to 2"),
        (COUNTS.replace("] = 1", "] -= 1"), "the lowest is -1, and the sums are -1 to -1"),
        (COUNTS.replace("self.size %", "len(images) %"), "among fewer images: let no image act on another one"),
        (COUNTS.replace(", 10)", ", 12)"), "probabilities (510, 10), a column for each class, and returned (510, 12)"),
        (COUNTS.replace("pass", "return 'low'"), "train_epoch returned 'low' for loss, which is no number"),
        (COUNTS.replace("pass", "return {'a b': 1}"), "returned a number named 'a b'; allowed: letters, digits and _"),
        (COUNTS.replace("pass", "return {f'n{i}': i for i in range(51)}"), "returned 51 numbers; allowed: 50"),
        (COUNTS.replace("pass", "return labels"), "train_epoch(1): line 8: NameError: name 'labels' is not defined"),
        (COUNTING, "tried again, it predicts something else: draw random numbers with torch, or from seed and epoch"),
        (SOFTMAX_REGRESSION.replace('{"model": self', '{"model": lambda: self'), "its state must be tensors, numbers,"),
        (FORGETFUL, "with its state saved and loaded, it goes on to predict something else: save all that counts"),
        (SOFTMAX_REGRESSION.replace('state["model"]', '{}'), "load_state_dict(state): line "),
    ],
)  # fmt: skip
def test_broken_code_is_refused_at_the_plan(code: str, problem: str) -> None:
    arguments = {"lr": 0.001} if "lr" in code else {}
    config = Config(**DIGITS | own("training", code, **arguments))
    with pytest.raises(OwnCodeError) as refused:
        check_own_code(config)
    assert str(refused.value).startswith("training own.py: ") and problem in str(refused.value)


def test_fields_of_the_built_in_training_mean_nothing_to_it() -> None:
    for field, value in {"lr": 0.1, "batch_norm": True, "precision": "bf16", "network": "vgg-a"}.items():
        with pytest.raises(ValidationError) as refused:
            Config(**FOREST, **{field: value})
        assert "it is allowed only where training is built_in" in str(first_problem(refused.value, Config))
    base = {"epochs": 3, "protocol": "B", "lr": 0.1, "batch_norm": True, "loss": "hinge"}
    assert Config(**combine(base, FOREST)) == Config(epochs=3, protocol="B", **FOREST)
    assert Config(**combine(FOREST, {"training": "built_in"})) == Config()
    shown = ["data", "protocol", "epochs", "training", "training.trees", "training.leaf"]
    assert list(Config(**FOREST).flat()) == shown
    as_json = Config(**FOREST).model_dump(mode="json", exclude_defaults=True)
    assert Config(**combine(base, as_json)) == Config(epochs=3, protocol="B", **FOREST)


def test_a_training_that_diverged_errs_as_by_chance_and_probabilities_of_bf16_are_exact_enough(digits: Dataset) -> None:
    errors = []
    for change in (".mul(torch.inf).softmax(1)", ".bfloat16().softmax(1)"):
        config = Config(**DIGITS | own("training", SOFTMAX_REGRESSION.replace(".softmax(1)", change), lr=0.1))
        *_, last = train(config, digits)
        errors.append(last.mean("test_error"))
    assert errors[0] == pytest.approx((digits.test_labels != 0).mean()) and errors[1] < 0.3


def test_a_forecast_learns_what_it_costs() -> None:
    config, plain = Config(**DIGITS | FOREST), Config(**DIGITS)
    rates = Rates("cpu", (Timing(config, "cpu", 5.0), Timing(plain, "cpu", 1.0)))
    assert rates.training_s(config, 2) == pytest.approx(2 * 3 * 5.0, abs=2.5)
    assert rates.training_s(plain, 2) == pytest.approx(2 * 3 * 1.0, abs=2.5)


def test_a_proof_takes_it_back_as_a_whole() -> None:
    study = Study(name="own", title="own", search={"space": {"lr": {"low": 0.1, "high": 0.2}}})
    forest, other = (Config(**example("training", "forest.py", trees=5, leaf=leaf)) for leaf in (1, 8))
    built_in = Config(lr=0.1, batch_norm=True, precision="bf16")
    for winner, compared in ((forest, built_in), (built_in, forest)):
        (row,) = proof_study(study, compared, winner, 1, 1).tables[1].rows[1:]
        assert Config(**row.change) == compared
    (row,) = proof_study(study, forest, other, 1, 1).tables[1].rows[1:]
    assert row.name == "without training_arguments trees=5, leaf=8" and Config(**row.change) == forest


def test_the_example_is_planned_and_a_measure_of_steps_is_refused(here: Command, tmp_path: Path) -> None:
    study = str(EXAMPLES / "forest.yaml")
    planned = here("--data", "digits", "--study", study, "--set", "lr=0.01", "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    configs = [each["config"] for each in json.loads(planned.stdout)["configs"]]
    assert [(each["lr"], each["training_arguments"].get("leaf")) for each in configs] == [
        (0.01, None), (0.001, 1), (0.001, 10),
    ]  # fmt: skip
    (tmp_path / "forest.py").write_text((EXAMPLES / "forest.py").read_text())
    text = (EXAMPLES / "forest.yaml").read_text().replace("varies: model", "measure: losses")
    (tmp_path / "mine.yaml").write_text(text)
    refused = here("--data", "digits", "--study", "mine.yaml", "--dry-run")
    assert refused.returncode == 2
    assert "row forest, leaves of 1: training forest.py" in refused.stderr
    assert "measure losses is not possible with a training of one's own" in refused.stderr


@pytest.mark.sweeps
@pytest.mark.usefixtures("made_record")
def test_a_search_finds_a_winner_and_registers_no_model(sweep: Command, here: Command, tmp_path: Path) -> None:
    (tmp_path / "forest.py").write_text((EXAMPLES / "forest.py").read_text())
    (tmp_path / "leaves.yaml").write_text(
        "baseline: {training: forest.py, training_arguments: {trees: 3, leaf: 30}}\n"
        "search: {space: {'training_arguments[leaf]': {low: 1, high: 20}}}\n"
    )
    arguments = ("--data", "digits", "--study", "leaves.yaml", "--epochs", "2", "--samples", "4", "--proof-seeds", "2")
    done = sweep(*arguments, "--difference-seeds", "2", *ONE_SLOT)
    assert done.returncode == 0, done.stderr
    assert "best_leaves: no model is registered of a training of one's own" in done.stderr
    record = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits")
    assert not record.client.search_registered_models()
    (winner,) = (trial for trial in record.trials() if "proven_seeds.leaves" in trial.tags)
    assert winner.config.training_arguments["trees"] == 3 and winner.config.training_arguments["leaf"] <= 20
    assert winner.metrics["winner_test_error"] < 0.3
    (found,) = record.sweeps()
    assert {file.path for file in record.client.list_artifacts(found.run_id)} >= {"best_leaves.yaml", "report"}
    page = Path(record.client.download_artifacts(found.run_id, "report/README.md")).read_text()
    assert "training_arguments[trees] 3; else as the baseline" in page
    assert "without training_arguments trees=3, leaf=" in page and "no kernels" not in page.partition("Not in this")[0]
    assert "Nothing to do" in here(*arguments, "--difference-seeds", "2").stderr
