"""A small exported record, and what an import of it has to leave behind."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from safetensors.numpy import save_file

from analysis.record.exported_record import artifacts_folders, write_sweep
from analysis.record.mlflow_record import Record
from analysis.record.recorded import RunStatus, SweepRecord, TrialRecord
from sweeps.planning.sweep_plan import rates_on
from sweeps.transfer import import_
from tests.analysis_records import search, table
from trainable.config import Config
from trainable.errors import UsageError
from trainable.search_space import Range
from trainable.study import StudyFile

ARRAYS = "traces.safetensors"


def make_trial(number: int) -> TrialRecord:
    """A complete trial of two epochs with a file of arrays."""
    config = Config(data="digits", epochs=2, loss=("cross_entropy", "hinge")[number % 2])
    key, seed = config.key("abc"), number // 2
    tags = {
        "role": "trial", "key": key, "config": json.dumps(config.canonical()), "seeds": f"[{seed}]", "device": "cpu",
        "outcome": "complete", "data_fingerprint": "abc", "study": "tables", "files": ARRAYS,
    }  # fmt: skip
    histories = {
        name: [(1, 0.5), (2, 0.25)]
        for name in (
            "test_error",
            f"per_seed/test_error_{seed}",
            f"per_seed/train_error_{seed}",
            "train_loss",
            "epoch_s",
        )
    } | {"seed_epoch_s": [(2, 1.5)]}
    last = {name: series[-1][1] for name, series in histories.items()}
    return TrialRecord(
        key=key, name=f"loss-{number}", config=config, seeds=(seed,), status="FINISHED", sweep="sweep0", tags=tags,
        metrics=last, histories=histories, run_id=f"trial{number}", start_time=1000 + number,
    )  # fmt: skip


def export_to(folder: Path) -> Path:
    """Write a folder as an export writes it: a sweep of four trials, the last of which failed, and a search."""
    sweep = SweepRecord(
        run_id="sweep0", name="a sweep", start_time=999, status="FINISHED", tags={"role": "sweep"},
        params={"epochs": "2"}, tables=(table("digits"),), study_file=StudyFile("own.yaml", "title: own"),
        searches=(search({"lr": Range(low=1e-3, high=1e-2)}),),
    )  # fmt: skip
    trials = [make_trial(number) for number in range(4)]
    trials[3] = replace(trials[3], status=RunStatus.FAILED, tags={**trials[3].tags, "outcome": "failed"})
    assert write_sweep(folder, sweep, trials) == trials
    for each in trials:
        arrays = folder / artifacts_folders([sweep], trials)[each.run_id] / "model"
        arrays.mkdir(parents=True)
        save_file({"step_losses/seed_0": np.ones(8)}, arrays / ARRAYS)
    return folder


def import_into(uri: str, folder: Path, experiment: str) -> str:
    """Import, and return the line in which that is refused, or nothing."""
    try:
        import_(folder, uri, experiment)
    except UsageError as refusal:
        return str(refusal)
    return ""


def assert_nothing_written(uri: str, experiment: str) -> None:
    assert MlflowClient(uri).get_experiment_by_name(experiment) is None


def assert_usable(uri: str, experiment: str, caplog: pytest.LogCaptureFixture) -> Record:
    """All that was imported can be read and planned with, and nothing seems to run."""
    record = Record(uri, experiment)
    assert record.sweeps()
    for trial in record.histories():
        record.arrays(trial, ARRAYS)
    rates_on("cpu", record.trials()).training_s(Config(data="digits"), 1)
    assert record.running() == []
    assert "left out" not in caplog.text
    return record
