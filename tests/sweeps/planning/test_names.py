"""Whatever a person can name works, or is refused in one line before anything starts."""

import io
from pathlib import Path

import pytest

from sweeps.full import full
from sweeps.studies.study_file import read_study
from sweeps.transfer import import_
from tests.options import options
from trainable.errors import UsageError

STUDY = """
title: "{title}"
tables:
  - number: "90"
    slug: {slug}
    title: "{title}"
    varies: loss
    rows:
      - name: "{row}"
        change: {{loss: hinge}}
"""


def write_study(
    folder: Path, *, name: str = "own.yaml", title: str = "A study", slug: str = "own", row: str = "a"
) -> Path:
    (folder / name).write_text(STUDY.format(title=title, slug=slug, row=row), encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("experiment", value) for value in ("a/b", "a:b", "it's", 'a"b', "a\\b", "a#b", "a?b", "50%", "..", " ", "")),
        *(("name", value) for value in ("a/b", "..", "two\nlines", "\x1b[2J", " ", "")),
        *((option, "ä" * 51) for option in ("experiment", "name")),
    ],
)
def test_a_name_that_can_be_no_folder_is_refused(option: str, value: str) -> None:
    with pytest.raises(UsageError) as refused:
        options(studies="tables", **{option: value})
    assert str(refused.value).startswith(f"--{option} {value!r}: must be"), "the value stands there once"


def test_an_import_refuses_the_same_experiments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--experiment a/b: must be one line"):
        import_(Path("docs/record"), f"sqlite:///{tmp_path}/mlflow.db", "a/b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["[red]", "[bold]", "a b", "ablations-ä", "x.1_2", ":smile:"])
def test_other_names_are_kept(value: str) -> None:
    assert options(name=value).name == value
    experiment = value.replace(":", "")
    assert options(experiment=experiment).experiment == experiment


@pytest.mark.parametrize("row", ["[bold]", "[/red]", ":smile:", "a, b", "50%", "größer", "|", "<b>"])
def test_a_row_is_shown_by_its_name(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    full(study=write_study(tmp_path, row=row, title=f"Of {row}"), data="digits", dry_run=True, change=[])
    assert f"own-{row}" in capsys.readouterr().out


def test_messages_of_a_sweep_show_brackets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`Console` takes them for markup unless it is told not to, also in the tables and the line on the record at the
    end."""
    from sweeps.running.results import print_results
    from sweeps.screen import output

    monkeypatch.chdir(tmp_path)
    console = output()
    console.file = io.StringIO()
    uri = f"sqlite:///{tmp_path}/[bold]/mlflow.db"
    print_results(options(experiment="[red]", tracking_uri=uri), [], None, console)
    assert "'[red]'" in console.file.getvalue()
    assert "[bold]" in console.file.getvalue()


@pytest.mark.parametrize(
    ("part", "value", "problem"),
    [
        ("row", "$x^$", "must be one line of printable characters without $"),
        ("row", "", "must be one line of printable characters without $"),
        ("row", "x" * 101, "must be at most 100 bytes long"),
        ("row", "two\\nlines", "must be one line of printable characters without $"),
        ("title", "costs $5 or $6", "must be one line of printable characters without $"),
        ("slug", "a/b", "should match pattern"),
    ],
)
def test_a_name_in_a_study_that_cannot_be_shown_is_refused(part: str, value: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        read_study(write_study(tmp_path, **{part: value}))
    assert problem in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["a#b.yaml", "a?b.yaml", "a%20b.yaml", "50%.yaml", "[bold] ä.yaml"])
def test_a_study_file_has_a_name_that_the_record_can_read_back(name: str, tmp_path: Path) -> None:
    """MLflow cuts names of artifacts at # and ?, and decodes %20."""
    kept = options(studies=None, study=write_study(tmp_path, name=name)).study_file
    assert kept is not None
    assert not set(kept.name) & set("#?%")
    assert kept.name.endswith(".yaml")


@pytest.mark.parametrize("folder", ["a b", "a#b", "a?b", "50%20", "äöü", "[bold]"])
def test_a_storage_folder_is_taken_as_it_is_spelt(folder: str, tmp_path: Path) -> None:
    from ray.train._internal.storage import get_fs_and_path

    from trainable.storage import TrialStorage, check_writable, tune_folder

    path = str(tmp_path / folder)
    check_writable(path)
    TrialStorage(path, "key", (0,)).write("file", b"content")
    assert (tmp_path / folder / "trials" / "key-seeds-0" / "file").read_bytes().endswith(b"content")
    assert get_fs_and_path(tune_folder(path))[1] == f"{path}/tune"


@pytest.mark.parametrize("name", ["mine", "a b", "äöü", "[bold]"])
def test_every_experiment_has_trials_of_its_own_in_the_storage(name: str, tmp_path: Path) -> None:
    from trainable.storage import TrialStorage, experiment_folder, open_storage

    mine, other = (TrialStorage(experiment_folder(str(tmp_path), each), "key", (0,)) for each in (name, "other"))
    mine.write("file", b"mine")
    other.write("file", b"other")
    other.remove()
    assert mine.read("file") == b"mine"
    bucket = "s3://bucket/checkpoints?endpoint_override=localhost%3A1&region=us-east-1"
    assert open_storage(experiment_folder(bucket, name))[1] == f"bucket/checkpoints/{name}"
