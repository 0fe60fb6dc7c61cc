"""An import checks the whole folder before it writes anything: it may come from anybody."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from safetensors.numpy import save_file

from analysis.embedded import uri_of
from analysis.folder import artifacts_folders, read_folder, write_sweep
from analysis.record import Record
from analysis.recorded import SweepRecord, TrialRecord
from sweeps.errors import UsageError
from sweeps.planning.prepare import rates_on
from sweeps.recording.tracking import ensure_experiment
from sweeps.transfer import export, import_
from tests.analysis_records import table
from tests.conftest import ROOT
from trainable.config import Config
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


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder as an export writes it: a sweep of four trials."""
    folder = tmp_path / "exported"
    sweep = SweepRecord(
        run_id="sweep0", name="a sweep", start_time=999, status="FINISHED", tags={"role": "sweep"},
        params={"epochs": "2"}, tables=(table("digits"),), study_file=StudyFile("own.yaml", "title: own"),
    )  # fmt: skip
    trials = [make_trial(number) for number in range(4)]
    assert write_sweep(folder, sweep, trials) == trials
    for each in trials:
        arrays = folder / artifacts_folders([sweep], trials)[each.run_id] / "model"
        arrays.mkdir(parents=True)
        save_file({"step_losses/seed_0": np.ones(8)}, arrays / ARRAYS)
    return folder


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory, empty_record: Path) -> str:
    """A record. Each import goes to an experiment of its own."""
    uri = uri_of(Path(shutil.copy(empty_record, tmp_path_factory.mktemp("record"))))
    ensure_experiment(uri, "none")
    return uri


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


def test_what_was_exported_is_imported_whole(uri: str, exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert import_into(uri, exported, "whole") == ""
    record = assert_usable(uri, "whole", caplog)
    _, trials = read_folder(exported)
    ours = {trial.name: trial.histories for trial in trials}
    assert {trial.name: trial.histories for trial in record.with_histories(record.trials())} == ours
    assert all(record.arrays(trial, ARRAYS) for trial in record.trials())


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
    write: int, uri: str, exported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first of its writes is the sweep's parameters, the others are the parameters and the metrics of a trial."""
    experiment = f"killed-{write}"
    command = [sys.executable, "-c", KILLED_IMPORT, str(exported), uri, experiment, str(write)]
    assert subprocess.run(command, cwd=ROOT, timeout=120, check=False).returncode == 9
    assert len(Record(uri, experiment).running()) == 1
    assert import_into(uri, exported, experiment) == ""
    record = assert_usable(uri, experiment, caplog)
    assert [trial.name for trial in record.trials()] == [f"loss-{number}" for number in range(4)]
    assert [sweep.status for sweep in record.sweeps()] == ["FINISHED"]


def test_an_imported_record_is_exported_to_the_same_files(uri: str, exported: Path) -> None:
    """Beside what it came from it would be there twice."""
    assert import_into(uri, exported, "again") == ""
    trials = sorted(exported.glob("*/trials/*"))
    export(exported, None, False, uri, "again")
    assert sorted(exported.glob("*/trials/*")) == trials
    assert [sweep.run_id for sweep in read_folder(exported)[0]] == ["sweep0"]


def test_a_sweep_that_is_not_there_is_not_exported(uri: str, exported: Path, tmp_path: Path) -> None:
    assert import_into(uri, exported, "two") == ""
    with pytest.raises(UsageError, match="--sweep 'typo': not in experiment two"):
        export(tmp_path / "out", ["a sweep", "typo"], False, uri, "two")
    with pytest.raises(UsageError, match="--experiment none: no sweep in"):
        export(tmp_path / "out", None, False, uri, "none")
    assert not (tmp_path / "out").exists()


def trial_file(folder: Path) -> Path:
    return min(folder.glob("*/trials/*.json"))


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def in_trial(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda folder: edit(trial_file(folder), change)


def in_sweep(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda folder: edit(next(folder.glob("*/sweep.json")), change)


def arrays_file(folder: Path) -> Path:
    return min(folder.glob(f"*/artifacts/*/model/{ARRAYS}"))


def link_out(file: Path, folder: Path) -> None:
    """Put a link to a secret elsewhere in the place of a file or a folder."""
    secret = folder.parent / "secret"
    secret.write_text("secret")
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    file.symlink_to(secret)


def link_model_folder(folder: Path) -> None:
    model, elsewhere = arrays_file(folder).parent, folder.parent / "elsewhere"
    model.rename(elsewhere)
    model.symlink_to(elsewhere)


def double(folder: Path) -> None:
    home = next(folder.iterdir())
    shutil.copytree(home, folder / f"{home.name}x")


def pipe(folder: Path) -> None:
    os.mkfifo(trial_file(folder).with_name("pipe.json"))


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no key": (in_trial(lambda t: t.pop("key")), "key is missing"),
    "no tag of the key": (in_trial(lambda t: t["tags"].pop("key")), "tag key is missing"),
    "another key": (in_trial(lambda t: t["tags"].update(key="beef")), "must be the trial's own"),
    "a config that is no JSON": (in_trial(lambda t: t["tags"].update(config="{lr")), "tag config '{lr': Invalid JSON"),
    "a config of another version": (in_trial(lambda t: t["config"].update(rate=1)), "config.rate is unknown"),
    "a trial that runs": (in_trial(lambda t: t.update(status="RUNNING")), "status 'RUNNING'"),
    "a key that is a path": (in_trial(lambda t: t.update(key="../../x")), "key '../../x'"),
    "a sweep's id that is a path": (in_sweep(lambda s: s.update(run_id="../../x")), "run_id '../../x'"),
    "another sweep's trial": (in_trial(lambda t: t.update(sweep="other")), "sweep other: must be sweep0"),
    "a tag of MLflow's": (in_trial(lambda t: t["tags"].update({"mlflow.user": "x"})), "tags of MLflow's own"),
    "a tag in a filter": (in_trial(lambda t: t["tags"].update(origin_run_id="x' or ''='")), "must be a run's id"),
    "a metric that is a path": (in_trial(lambda t: t["metrics"].update({"../x": []})), "must be a plain name"),
    "half a history": (in_trial(lambda t: t["metrics"]["per_seed/test_error_0"].pop()), "lacks the test_error of some"),
    "an endless speed": (in_trial(lambda t: t["metrics"].update(seed_epoch_s=[[2, float("inf")]])), "must be finite"),
    "a step beyond all stores": (in_trial(lambda t: t["metrics"]["epoch_s"].append([2**70, 1])), "metrics.epoch_s.2.0"),
    "half a character": (in_trial(lambda t: t.update(name="\ud800")), "not an exported record"),
    "no tables": (in_sweep(lambda s: s.update(tables=7)), "tables 7"),
    "a table without rows": (in_sweep(lambda s: s["tables"][0].update(rows=[])), "table 3: must have rows"),
    "a table whose number is a path": (in_sweep(lambda s: s["tables"][0].update(number="../3")), "number '../3'"),
    "a study file elsewhere": (in_sweep(lambda s: s["study_file"].update(name="../../x.yaml")), "'../../x.yaml'"),
    "a name that is not its content's": (lambda f: trial_file(f).rename(trial_file(f).with_name("x.json")),
                                         "must be named loss-0-"),
    "deep nesting": (lambda f: trial_file(f).write_text("[" * 100_000), "not an exported record"),
    "no text": (lambda f: trial_file(f).write_bytes(b"\xff\xfe\x00"), "not an exported record"),
    "half a file of arrays": (lambda f: arrays_file(f).write_bytes(arrays_file(f).read_bytes()[:-8]), ARRAYS),
    "the same run twice": (double, "must be named a-sweep-sweep0"),
    "a link for arrays": (lambda f: link_out(arrays_file(f), f), "must be a folder or a plain file"),
    "a link for a folder of arrays": (link_model_folder, "must be a folder or a plain file"),
    "a link for a trial": (lambda f: link_out(trial_file(f), f), "must be a folder or a plain file"),
    "a pipe": (pipe, "must be a folder or a plain file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_folder_is_one_line_and_nothing_is_written(kind: str, uri: str, exported: Path) -> None:
    spoil, problem = HOSTILE[kind]
    spoil(exported)
    experiment = kind.replace("'", "")
    line = import_into(uri, exported, experiment)
    assert line.startswith(f"{exported}: not an exported record: ")
    assert problem in line
    assert len(line.splitlines()) == 1
    assert_nothing_written(uri, experiment)


VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**400, 1.5, float("nan"), float("inf"), "", "x" * 10_000, "\x00", "\ud800", "../../etc",
    "[/red]", "'; drop table runs", [], [[]], {}, {"": ""}, [0, 0], "null", "\x1b[2J",
)  # fmt: skip


def replace_a_value(content: Any, chance: random.Random) -> None:
    """Replace or remove a random value somewhere in a JSON document."""
    while True:
        places = list(content) if isinstance(content, dict) else list(range(len(content)))
        place = chance.choice(places)
        inner = content[place]
        if isinstance(inner, dict | list) and inner and chance.random() < 0.8:
            content = inner
            continue
        if chance.random() < 0.2:
            del content[place]
        else:
            content[place] = chance.choice(VALUES)
        return


def spoil_at_random(folder: Path, chance: random.Random) -> None:
    """Cut, flip or rewrite one of the folder's files."""
    file = chance.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    content = file.read_bytes()
    place = chance.randrange(len(content))
    kind = chance.choice(("cut", "flip", "value", "value", "value"))
    if kind == "value" and file.suffix == ".json":
        document = json.loads(content)
        replace_a_value(document, chance)
        file.write_text(json.dumps(document))
    elif kind == "cut":
        file.write_bytes(content[:place])
    else:
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])


@pytest.mark.parametrize("seed", range(40))
def test_a_spoilt_folder_is_refused_in_one_line_or_does_no_harm(
    seed: int, uri: str, exported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil_at_random(exported, random.Random(seed))
    if line := import_into(uri, exported, f"spoilt-{seed}"):
        assert line.startswith(f"{exported}: not an exported record: ")
        assert len(line.splitlines()) == 1
        assert_nothing_written(uri, f"spoilt-{seed}")
    else:
        assert_usable(uri, f"spoilt-{seed}", caplog)
