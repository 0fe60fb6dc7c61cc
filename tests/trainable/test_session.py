"""A trial in one process: it reports where it must, says what went wrong, and goes on from the epoch before."""

from pathlib import Path

import pytest
import torch

from tests.configs import SMALL
from tests.specs import digits_spec, trial_spec
from trainable.config import Config
from trainable.errors import DataError
from trainable.session import Session
from trainable.training import Trainer


@pytest.mark.parametrize("where", ["__init__", "run_epoch"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        torch.AcceleratorError("CUDA error: out of memory"),
    ],
)
def test_a_training_that_does_not_fit_says_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    """There is no GPU here to fill: the errors that torch raises there are raised by hand."""

    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, where, full)
    spec = digits_spec(Config(**SMALL, lr=0.02), tmp_path, seeds=(0, 1))
    with pytest.raises(MemoryError, match=r"out of GPU memory.*lr 0.02.*2 seed\(s\).*--gpus-per-trial"):
        Session(spec).advance(1.0)


def test_a_training_that_fails_within_an_epoch_goes_on_from_the_epoch_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights and its schedule have moved on, and its epochs have not: this must not become a checkpoint."""
    config = Config(**SMALL, epochs=3, schedule="one_cycle")
    expected = Session(digits_spec(config, tmp_path / "whole")).advance(3600.0)
    spec = digits_spec(config, tmp_path / "failed", report_at=(1,))
    session = Session(spec)
    session.advance(3600.0)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Trainer, "evaluate", full)
        session.advance(3600.0)
    session.save()  # as Ray Tune does after an error
    goes_on = Session(spec)
    epochs = [epoch for _ in range(2) for epoch in goes_on.advance(3600.0).epochs]
    assert [epoch.metrics for epoch in epochs] == [epoch.metrics for epoch in expected.epochs]


def test_the_epochs_before_a_failure_are_reported_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_in_its_third(trainer: Trainer) -> None:
        if len(trainer.history) == 2:
            raise ValueError("third")
        run_epoch(trainer)

    run_epoch = Trainer.run_epoch
    monkeypatch.setattr(Trainer, "run_epoch", fails_in_its_third)
    session = Session(digits_spec(Config(**SMALL, epochs=5), tmp_path))
    report = session.advance(3600.0)
    assert ([epoch.number for epoch in report.epochs], report.done) == ([1, 2], False)
    with pytest.raises(ValueError, match="third"):
        session.advance(3600.0)


def test_a_node_with_other_data_than_the_sweeps_refuses_the_trial(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has fingerprint \w+, the sweep's has 0123; give every node the same data"):
        Session(trial_spec(Config(**SMALL), tmp_path, "0123"))


def test_a_report_ends_where_it_must(tmp_path: Path) -> None:
    session = Session(digits_spec(Config(**SMALL, epochs=5), tmp_path, report_at=(1, 3)))
    reports = [[epoch.number for epoch in session.advance(3600.0).epochs] for _ in range(3)]
    assert reports == [[1], [2, 3], [4, 5]]


def test_a_resumed_trial_reports_earlier_epochs_to_the_same_rungs(tmp_path: Path) -> None:
    spec = digits_spec(Config(**SMALL, epochs=4), tmp_path, report_at=(3,))
    session = Session(spec)
    session.advance(3600.0)
    session.save()
    goes_on = Session(spec.model_copy(update={"report_at": (1, 2)}))
    reports = [goes_on.advance(3600.0) for _ in range(3)]
    assert [[epoch.number for epoch in report.epochs] for report in reports] == [[1], [2], [3, 4]]
    assert [report.resumed for report in reports] == [3, 0, 0]
    assert [report.done for report in reports] == [False, False, True]
