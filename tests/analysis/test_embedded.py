"""An embedded record survives a kill while it is made, is the same however it is spelt, and moves with its folder."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from analysis.record.embedded import uri_of
from analysis.record.mlflow_record import Record
from analysis.record.opening import open_record
from sweeps.planning.parse import default_tracking_uri
from sweeps.recording.tracking import ensure_experiment
from tests.conftest import ROOT
from trainable.errors import UsageError

NAME = "test"
MAKE = (
    "import sys; from sweeps.recording.tracking import ensure_experiment; ensure_experiment(sys.argv[1], sys.argv[2])"
)


def start_making(database: Path, experiment: str = NAME) -> subprocess.Popen:
    """A process that makes the record and its experiment."""
    return subprocess.Popen(
        [sys.executable, "-c", MAKE, uri_of(database), experiment], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def tables(folder: Path) -> int:
    """How many tables the databases under a folder have, those included that are being made."""
    count = 0
    for file in folder.rglob("mlflow.db"):
        try:
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
                count += connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
        except sqlite3.OperationalError:  # moved or locked at this moment
            continue
    return count


@pytest.mark.reliability
def test_a_kill_leaves_no_half_of_it_and_first_starts_together_make_one(tmp_path: Path) -> None:
    uri = uri_of(tmp_path / "mlflow.db")
    making = start_making(tmp_path / "mlflow.db")
    while making.poll() is None and tables(tmp_path) < 15:
        time.sleep(0.005)
    making.send_signal(signal.SIGKILL)
    assert making.wait() == -signal.SIGKILL, "it was killed before its end"
    assert open_record(uri, NAME) is None
    together = [start_making(tmp_path / "mlflow.db", name) for name in (NAME, NAME, "other")]
    for process in together:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    names = {experiment.name for experiment in MlflowClient(uri).search_experiments()}
    assert names == {NAME, "other", "Default"}
    left = {file.name for file in tmp_path.iterdir() if not file.name.endswith((".lock", "-wal", "-shm"))}
    assert left == {"mlflow.db"}


def test_an_empty_file_is_no_record_yet(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.touch()
    assert open_record(uri_of(database), NAME) is None
    assert database.stat().st_size == 0, "planning writes nothing"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a record with a run that has an artifact and a registered model. Its name has all that a URI
    gives a meaning to."""
    folder = tmp_path_factory.mktemp("records") / "a b#c?d=1&50%20 äöü [bold] 'e'"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        uri = default_tracking_uri()
    client, experiment = ensure_experiment(uri, NAME)
    run = client.create_run(experiment, tags={"role": "sweep"}, run_name="sweep").info
    client.log_text(run.run_id, "[]", "plan.json")
    client.create_registered_model("model")
    client.create_model_version("model", f"{run.artifact_uri}/model", run.run_id)
    client.set_terminated(run.run_id)
    return folder


def copy(home: Path, to: Path) -> Path:
    """Copy a record with its artifacts. SQLite copies the database: this process has it open."""
    shutil.copytree(home / "mlartifacts", to / "mlartifacts")
    return copy_database(home, to)


def copy_database(home: Path, to: Path) -> Path:
    """Copy the database alone, and return the copy."""
    to.mkdir(exist_ok=True)
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.execute("VACUUM INTO ?", (str(to / "mlflow.db"),))
    return to / "mlflow.db"


def test_any_folder_can_hold_a_record(home: Path) -> None:
    record = open_record(uri_of(home / "mlflow.db"), NAME)
    assert record is not None
    (sweep,) = record.sweeps()
    assert (home / "mlartifacts" / NAME / sweep.run_id / "artifacts" / "plan.json").read_text() == "[]"
    assert plan_of(record) == "[]"


def plan_of(record: Record) -> str:
    """The artifact of the record's sweep."""
    (sweep,) = record.sweeps()
    return Path(record.client.download_artifacts(sweep.run_id, "plan.json")).read_text()


@pytest.mark.parametrize(
    "spelling",
    [
        "sqlite:///mlflow.db?timeout=60",
        "sqlite+pysqlite:///mlflow.db",
        "sqlite:///mlflow.db?",
        "sqlite:///./mlflow%2Edb",
    ],
)
def test_a_record_is_the_same_however_it_is_spelt(spelling: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    record = open_record(spelling, NAME)
    assert record is not None
    assert len(record.sweeps()) == 1


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("sqlite:///mlflow.db?timout=60", "'timout' are not accepted"),
        ("sqlite:////tmp/a?b/mlflow.db", "bad query field: 'b/mlflow.db'"),
        ("sqlite:///mlflow.db?timeout=long", "could not convert string to float: 'long'"),
        ("sqlite:///file:mlflow.db?uri=true&mode=memory", "it must name a file, as sqlite:///mlflow.db does"),
        ("sqlite://", "it must name a file, as sqlite:///mlflow.db does"),
        ("sqlite:///:memory:", "it must name a file, as sqlite:///mlflow.db does"),
        ("sqlite:/mlflow.db", "Could not parse"),
        ("sqlite://host/mlflow.db", "Invalid SQLite URL"),
        ("sqlite+nothing:///mlflow.db", "Can't load plugin"),
    ],
)
def test_a_uri_that_is_no_file_is_one_line(uri: str, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_record(uri, NAME)
    assert str(refused.value).startswith(f"--tracking-uri {uri}: ")
    assert problem in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_record_that_moved_with_its_folder_goes_on_there(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy is like a move whose old place still exists: it must not write there."""
    uri, artifacts = uri_of(copy(home, tmp_path / "moved")), tmp_path / "moved" / "mlartifacts" / NAME
    record = open_record(uri, NAME)
    assert record is not None
    assert [line for line in caplog.messages if "moved" in line] == [
        f"the record was moved: artifacts of {NAME} are now in {artifacts}"
    ]
    run = record.client.create_run(record.experiment_id).info.run_id
    record.client.log_text(run, "new", "note.txt")
    assert (artifacts / run / "artifacts" / "note.txt").exists()
    (sweep,) = record.sweeps()
    (artifacts / sweep.run_id / "artifacts" / "plan.json").write_text("[ ]")
    assert plan_of(record) == "[ ]", "it is read where it is now"
    (version,) = MlflowClient(uri, registry_uri=uri).search_model_versions("name = 'model'")
    assert version.source == (artifacts / sweep.run_id / "artifacts" / "model").as_uri()
    caplog.clear()
    assert open_record(uri, NAME)
    assert "moved" not in caplog.text, "it says so once"


def test_a_dry_run_changes_nothing_in_a_record_that_moved(home: Path, tmp_path: Path) -> None:
    database = copy(home, tmp_path / "moved")

    def content() -> list[str]:
        with closing(sqlite3.connect(database)) as connection:
            return list(connection.iterdump())

    before = content()
    assert open_record(uri_of(database), NAME, dry=True)
    assert content() == before
    assert open_record(uri_of(database), NAME)
    assert content() != before


def test_a_report_of_a_record_that_moved_reads_its_artifacts_there(home: Path, tmp_path: Path) -> None:
    uri = uri_of(copy(home, tmp_path / "moved"))
    record = open_record(uri, NAME)
    (plan,) = (tmp_path / "moved").rglob("plan.json")
    plan.write_text("[ ]")
    assert record is not None
    assert plan_of(record) == "[ ]"


def test_artifacts_that_stayed_are_still_used(home: Path, tmp_path: Path) -> None:
    uri = uri_of(copy_database(home, tmp_path))
    (tmp_path / "mlartifacts" / NAME / "of another record").mkdir(parents=True)
    record = open_record(uri, NAME)
    assert record is not None
    assert plan_of(record) == "[]"


def test_a_record_whose_artifacts_are_lost_is_refused(home: Path, tmp_path: Path) -> None:
    uri = uri_of(copy(home, tmp_path / "first"))
    assert open_record(uri, NAME)
    shutil.rmtree(tmp_path / "first" / "mlartifacts")
    moved = uri_of(copy_database(tmp_path / "first", tmp_path / "second"))
    for lost, folder in ((uri, "first"), (moved, "second")):
        with pytest.raises(UsageError) as refused:
            open_record(lost, NAME)
        assert str(refused.value).endswith(f"move them to {tmp_path / folder / 'mlartifacts' / NAME}, beside mlflow.db")
