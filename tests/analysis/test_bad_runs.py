"""One bad run blocks no record: it is left out and named once, and an export has all the rest."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from safetensors.numpy import save_file

from analysis.record.embedded import uri_of
from analysis.record.exported_record import read_folder
from analysis.record.mlflow_record import Record
from analysis.record.recorded import ARRAYS_FOLDER, PLAN_FILE
from analysis.report import write_report
from analysis.report_data import ReportData
from sweeps.recording.recorder import log_tables
from sweeps.recording.tracking import ensure_experiment
from sweeps.recording.trial_runs import log_arrays
from sweeps.recording.views import present
from sweeps.transfer import export
from tests.analysis_records import table
from trainable.config import Config

ARRAYS = "traces.safetensors"


class Written:
    """A record with one sweep of two trials, the hinge loss and the baseline, in an experiment of its own."""

    def __init__(self, uri: str, experiment: str, folder: Path) -> None:
        self.uri, self.experiment = uri, experiment
        self.client, self.id = ensure_experiment(uri, experiment)
        self.sweep = self.client.create_run(self.id, run_name="sweep", tags={"role": "sweep"}).info.run_id
        log_tables(self.client, self.sweep, [table("digits")])
        save_file({"step_losses/seed_0": np.ones(8, np.float32)}, folder / ARRAYS)
        self.good, self.bad = (self._trial(Config(data="digits", epochs=1, loss=loss), folder / ARRAYS)
                               for loss in ("hinge", "cross_entropy"))  # fmt: skip
        self.client.set_terminated(self.sweep)

    def _trial(self, config: Config, arrays: Path) -> str:
        tags = {
            "role": "trial", "key": config.key("abc"), "config": json.dumps(config.canonical()), "seeds": "[0]",
            "outcome": "complete", "data": "digits", "data_fingerprint": "abc", "study": "tables",
            "mlflow.parentRunId": self.sweep,
        }  # fmt: skip
        run = self.client.create_run(self.id, run_name=config.loss, tags=tags).info.run_id
        for name in ("test_error", "per_seed/test_error_0", "per_seed/train_error_0", "train_error", "seed_epoch_s"):
            self.client.log_metric(run, name, 0.5, step=1)
        log_arrays(self.client, run, [arrays])
        self.client.set_terminated(run)
        return run

    @property
    def arrays(self) -> Path:
        """The bad trial's file of arrays in the artifacts."""
        uri = self.client.get_run(self.bad).info.artifact_uri
        return Path(uri.removeprefix("file://")) / ARRAYS_FOLDER / ARRAYS


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory, empty_record: Path) -> str:
    return uri_of(Path(shutil.copy(empty_record, tmp_path_factory.mktemp("record"))))


SPOILT: dict[str, tuple[Callable[[MlflowClient, str], object], str]] = {
    "no key": (lambda client, run: client.delete_tag(run, "key"), "tag key is missing"),
    "an empty key": (lambda client, run: client.set_tag(run, "key", ""), "tag key ''"),
    "no config": (lambda client, run: client.delete_tag(run, "config"), "tag config is missing"),
    "a config that is no JSON": (lambda client, run: client.set_tag(run, "config", "{lr"), "tag config '{lr'"),
    "a config of another version": (
        lambda client, run: client.set_tag(run, "config", '{"rate": 1}'), "tag config.rate is unknown"
    ),
    "seeds in words": (lambda client, run: client.set_tag(run, "seeds", '["one"]'), "tag seeds.0 'one'"),
    "no role": (lambda client, run: client.delete_tag(run, "role"), "tag role None: must be 'trial'"),
    "another role": (lambda client, run: client.set_tag(run, "role", "Trial"), "tag role 'Trial': must be 'trial'"),
    "a proof in words": (lambda client, run: client.set_tag(run, "proven_seeds.x", "ten"), "tag proven_seeds.x 'ten'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILT)
def test_a_bad_trial_is_left_out_and_named_once(
    kind: str, uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = Written(uri, kind, tmp_path)
    spoil, problem = SPOILT[kind]
    spoil(written.client, written.bad)
    for _ in range(2):
        record = Record(uri, kind)
        assert [trial.run_id for trial in record.trials()] == [written.good]
    (line,) = [line for line in caplog.messages if "left out" in line]
    assert f"cross_entropy ({written.bad}): {problem}" in line
    assert len(line.splitlines()) == 1
    present(record).write(record.client)
    export(tmp_path / "out", tracking_uri=uri, experiment=kind)
    assert [trial.run_id for trial in read_folder(tmp_path / "out")[1]] == [written.good]


def test_a_complete_trial_without_all_its_epochs_is_no_part_of_a_report(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = Written(uri, "epochs", tmp_path)
    config = Config(data="digits", epochs=2, loss="cross_entropy")
    written.client.set_tag(written.bad, "key", config.key("abc"))
    written.client.set_tag(written.bad, "config", json.dumps(config.canonical()))
    record = Record(uri, "epochs")
    assert [trial.run_id for trial in record.histories()] == [written.good]
    assert f"cross_entropy ({written.bad}): seed 0 lacks the train_error of some of 2 epochs" in caplog.text
    write_report(ReportData(record, tmp_path / "report"))


def exported(written: Written, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The names of the sweeps of an export, and the sweep's name by trial."""
    export(folder, tracking_uri=written.uri, experiment=written.experiment)
    sweeps, trials = read_folder(folder)
    names = {sweep.run_id: sweep.name for sweep in sweeps}
    return list(names.values()), {trial.run_id: names[trial.sweep] for trial in trials}


def test_the_trials_of_a_deleted_sweep_are_exported(uri: str, tmp_path: Path) -> None:
    written = Written(uri, "deleted", tmp_path)
    written.client.delete_run(written.sweep)
    sweeps, trials = exported(written, tmp_path / "out")
    assert sweeps == ["without-sweep"]
    assert trials == dict.fromkeys((written.good, written.bad), "without-sweep")


def test_the_trials_of_a_sweep_that_cannot_be_read_are_exported(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = Written(uri, "unreadable", tmp_path)
    written.client.log_text(written.sweep, '[{"number": "3", "of": "another version"}]', PLAN_FILE)
    _, trials = exported(written, tmp_path / "out")
    assert trials == dict.fromkeys((written.good, written.bad), "without-sweep")
    assert f"sweep ({written.sweep})" in caplog.text


def test_a_trial_without_a_parent_is_exported(uri: str, tmp_path: Path) -> None:
    written = Written(uri, "parentless", tmp_path)
    written.client.delete_tag(written.bad, "mlflow.parentRunId")
    _, trials = exported(written, tmp_path / "out")
    assert trials == {written.good: "sweep", written.bad: "without-sweep"}


def test_half_a_trial_is_not_exported_as_whole(uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its import would be refused, and with it all the rest."""
    written = Written(uri, "half", tmp_path)
    written.client.set_tag(written.bad, "seeds", "[0, 1]")
    _, trials = exported(written, tmp_path / "out")
    assert list(trials) == [written.good]
    assert f"({written.bad}): metrics: seed 1 lacks the train_error of some of 1 epochs" in caplog.text


@pytest.mark.parametrize("damage", ["lost", "cut"])
def test_a_damaged_file_of_arrays_blocks_neither_report_nor_export(
    damage: str, uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = Written(uri, damage, tmp_path)
    if damage == "lost":
        shutil.rmtree(written.arrays.parent)
    else:
        written.arrays.write_bytes(written.arrays.read_bytes()[:-4])
    record = Record(uri, damage)
    arrays = {trial.run_id: record.arrays(trial, ARRAYS) for trial in record.trials()}
    assert arrays[written.bad] == {} and arrays[written.good]
    assert f"{ARRAYS} of {written.bad}" in caplog.text
    write_report(ReportData(record, tmp_path / "report"))
    export(tmp_path / "out", models=True, tracking_uri=uri, experiment=damage)
    assert {trial.run_id for trial in read_folder(tmp_path / "out")[1]} == {written.good, written.bad}
    assert len(list((tmp_path / "out").rglob(ARRAYS))) == 1
