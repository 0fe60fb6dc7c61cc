"""An import checks the whole folder before it writes anything: it may come from anybody."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.record.recorded import PROVEN
from tests.exports import ARRAYS, assert_nothing_written, assert_usable, import_into


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


def search_without_error(trial: dict[str, Any]) -> None:
    trial["config"]["protocol"] = "B"
    trial["tags"]["config"] = json.dumps(json.loads(trial["tags"]["config"]) | {"protocol": "B"})


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
    "a searched trial without an error": (in_trial(search_without_error), "metrics.val_error: must have every epoch"),
    "a winner without a test error": (in_trial(lambda t: t["tags"].update({f"{PROVEN}search": "3"})),
                                      "metrics.winner_test_error: must be there"),
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
def test_a_hostile_folder_is_one_line_and_nothing_is_written(kind: str, record_uri: str, exported: Path) -> None:
    spoil, problem = HOSTILE[kind]
    spoil(exported)
    experiment = kind.replace("'", "")
    line = import_into(record_uri, exported, experiment)
    assert line.startswith(f"{exported}: not an exported record: ")
    assert problem in line
    assert len(line.splitlines()) == 1
    assert_nothing_written(record_uri, experiment)


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
    seed: int, record_uri: str, exported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil_at_random(exported, random.Random(seed))
    if line := import_into(record_uri, exported, f"spoilt-{seed}"):
        assert line.startswith(f"{exported}: not an exported record: ")
        assert len(line.splitlines()) == 1
        assert_nothing_written(record_uri, f"spoilt-{seed}")
    else:
        assert_usable(record_uri, f"spoilt-{seed}", caplog)
