"""What an import writes is what was exported, also after it was killed half-way."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from safetensors.numpy import save_file

from analysis.record.arrays import LAYERS
from analysis.record.exported_files import ORIGIN
from analysis.record.exported_record import read_folder, write_sweep
from analysis.record.mlflow_record import Record
from analysis.record.recorded import ARRAYS_FOLDER, RunStatus, SweepRecord, TrialRecord
from sweeps.errors import SweepError
from sweeps.recording.kernel_images import log_kernels
from sweeps.transfer import export
from tests.conftest import ROOT
from tests.exports import ARRAYS, assert_usable, import_into
from tests.images import kernel_images
from trainable.errors import UsageError

Run = TypeVar("Run", SweepRecord, TrialRecord)


def test_what_was_exported_is_imported_whole(record_uri: str, exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert import_into(record_uri, exported, "whole") == ""
    record = assert_usable(record_uri, "whole", caplog)
    sweeps, trials = read_folder(exported)
    (sweep,), (imported,) = sweeps, record.sweeps()
    assert as_exported(imported, sweep) == sweep
    there = record.with_histories(record.trials())
    assert [
        replace(as_exported(each, trial), sweep=trial.sweep) for each, trial in zip(there, trials, strict=True)
    ] == trials
    for each in there:
        run = record.client.get_run(each.run_id)
        assert run.inputs.dataset_inputs, "the UI shows the data"
        assert run.data.params["data"] == "digits", "and the parameters"
        assert record.arrays(each, ARRAYS)


def as_exported(imported: Run, exported: Run) -> Run:
    """What was imported, with the run id and the tags of what was exported where it has kept them."""
    tags = {name: value for name, value in imported.tags.items() if name in exported.tags}
    return replace(imported, run_id=imported.tags[ORIGIN], tags=tags)


def test_one_sweep_alone_is_exported(record_uri: str, exported: Path, tmp_path: Path) -> None:
    (sweep,), (trial, *_) = read_folder(exported)
    another = replace(sweep, run_id="sweep1", name="another")
    write_sweep(exported, another, [replace(trial, run_id="trial9", name="loss-9", sweep="sweep1")])
    assert import_into(record_uri, exported, "alone") == ""
    export(tmp_path / "out", ["another"], False, record_uri, "alone")
    sweeps, trials = read_folder(tmp_path / "out")
    assert ([each.name for each in sweeps], [each.name for each in trials]) == (["another"], ["loss-9"])


def test_a_sweep_that_was_exported_while_it_ran_gets_its_end(record_uri: str, exported: Path) -> None:
    (sweep,), trials = read_folder(exported)
    for as_it_is, status in ((replace(sweep, status=RunStatus.RUNNING, tables=()), "KILLED"), (sweep, "FINISHED")):
        write_sweep(exported, as_it_is, trials)
        assert import_into(record_uri, exported, "running") == ""
        (imported,) = Record(record_uri, "running").sweeps()
        assert (imported.status, imported.tables) == (status, as_it_is.tables)


KILLED_IMPORT = """
import os, sys
from mlflow import MlflowClient
from sweeps import transfer
writes, real = [], MlflowClient.log_batch

def log_batch(*arguments, **named):
    writes.append(1)
    if len(writes) == int(sys.argv[4]):
        os._exit(9)
    real(*arguments, **named)

MlflowClient.log_batch = log_batch
transfer.import_(transfer.Path(sys.argv[1]), sys.argv[2], sys.argv[3])
"""


@pytest.mark.parametrize("write", [1, 5])
def test_what_a_killed_import_left_half_written_is_made_whole(
    write: int, record_uri: str, exported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first of its writes is the sweep's parameters, the others are the parameters and the metrics of a trial."""
    experiment = f"killed-{write}"
    command = [sys.executable, "-c", KILLED_IMPORT, str(exported), record_uri, experiment, str(write)]
    assert subprocess.run(command, cwd=ROOT, timeout=120, check=False).returncode == 9
    assert len(Record(record_uri, experiment).running()) == 1
    assert import_into(record_uri, exported, experiment) == ""
    record = assert_usable(record_uri, experiment, caplog)
    assert [trial.name for trial in record.trials()] == [f"loss-{number}" for number in range(4)]
    assert [sweep.status for sweep in record.sweeps()] == ["FINISHED"]


def test_an_imported_record_is_exported_to_the_same_files(record_uri: str, exported: Path) -> None:
    """Beside what it came from it would be there twice."""
    assert import_into(record_uri, exported, "again") == ""
    trials = sorted(exported.glob("*/trials/*"))
    export(exported, None, False, record_uri, "again")
    assert sorted(exported.glob("*/trials/*")) == trials
    assert [sweep.run_id for sweep in read_folder(exported)[0]] == ["sweep0"]


def test_an_export_forgets_trials_whose_runs_were_deleted(record_uri: str, exported: Path) -> None:
    """The first training of a seed counts: what was deleted would come before what was trained in its place."""
    assert import_into(record_uri, exported, "deleted") == ""
    record = Record(record_uri, "deleted")
    (deleted,) = [trial for trial in record.trials() if trial.name == "loss-2"]
    record.client.delete_run(deleted.run_id)
    export(exported, None, False, record_uri, "deleted")
    assert [trial.name for trial in read_folder(exported)[1]] == ["loss-0", "loss-1", "loss-3"]
    assert not [path for path in exported.rglob("*") if "loss-2" in str(path)]


def test_an_export_onto_a_full_disk_is_refused(
    record_uri: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays that cannot be written are not taken for arrays that cannot be read."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert import_into(record_uri, exported, "full") == ""
    monkeypatch.setattr("sweeps.transfer.shutil.copy", full)
    with pytest.raises(UsageError, match=r"out: cannot be written: .*No space left on device"):
        export(tmp_path / "out", None, True, record_uri, "full")


def test_an_export_does_not_take_a_server_that_is_away_for_lost_files(
    record_uri: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = MlflowClient.download_artifacts

    def away(client: MlflowClient, run_id: str, path: str, folder: str) -> str:
        if path.startswith(ARRAYS_FOLDER):
            raise MlflowException("Connection refused")
        return download(client, run_id, path, folder)

    assert import_into(record_uri, exported, "away") == ""
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "download_artifacts", away)
        with pytest.raises(SweepError, match=r"of loss-0 cannot be fetched: Connection refused; run the same command"):
            export(tmp_path / "out", None, True, record_uri, "away")
    export(tmp_path / "out", None, True, record_uri, "away")
    assert len(list((tmp_path / "out").rglob(ARRAYS))) == 4


def test_a_sweep_that_is_not_there_is_not_exported(record_uri: str, exported: Path, tmp_path: Path) -> None:
    assert import_into(record_uri, exported, "two") == ""
    with pytest.raises(UsageError, match="--sweep 'typo': not in experiment two"):
        export(tmp_path / "out", ["a sweep", "typo"], False, record_uri, "two")
    with pytest.raises(UsageError, match=r"--experiment none: no sweep in .*; experiments there: .*two"):
        export(tmp_path / "out", None, False, record_uri, "none")
    assert not (tmp_path / "out").exists()


def test_exported_kernels_are_drawn_and_once(record_uri: str, exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The pictures that a sweep logs are not exported."""
    first, second = sorted(exported.glob("*/artifacts/*/model"))[:2]
    layers = {"kernels/epoch_0": np.zeros((4, 3, 3, 3)), "trained/conv1.weight": np.ones((4, 3, 3, 3))}
    save_file(layers, first / LAYERS)
    save_file(layers | {"kernels/epoch_0": np.zeros(4)}, second / LAYERS)
    for _ in range(2):
        assert import_into(record_uri, exported, "kernels") == ""
        record = Record(record_uri, "kernels")
        pictures = [kernel_images(record, trial) for trial in record.trials()]
        assert pictures == [[("kernels", 0), ("kernels", 2), ("trained_kernels", 0)], [], [], []]
    drawn, *_ = record.trials()
    log_kernels(record.client, drawn.run_id, layers, 2)
    assert kernel_images(record, drawn) == pictures[0], "a write that is repeated after an outage draws none again"
    assert caplog.text.count("the kernels in layers.safetensors of loss-1: of epoch 0: shape (4,)") == 1
