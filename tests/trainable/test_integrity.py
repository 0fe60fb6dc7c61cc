"""What is read back from the storage is what was written: damage is found, said, set aside and never believed."""

import io
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from sweeps.running.display import Display
from sweeps.stages import mark_storage, remove_stages
from tests.damage import CONFIG, flip, make_spec, storage_of, stored
from trainable.data import load as load_data
from trainable.session import Session
from trainable.storage import CHECKPOINT, FORMER_CHECKPOINT, DamagedFileError, StorageError, TrialStorage
from trainable.training import Trainer, train
from trainable.trial import Epoch, TrialReport, TrialSpec
from trainable.tune_trainable import report_of, tune_result

fuzz = settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def set_aside(spec: TrialSpec) -> list[Path]:
    return sorted((Path(spec.experiment_folder) / "set-aside").glob("*"))


def metrics(epochs: tuple[Epoch, ...]) -> list[dict[str, list[float]]]:
    return [epoch.metrics for epoch in epochs]


@pytest.fixture(scope="module")
def undisturbed() -> list[dict[str, list[float]]]:
    return metrics(tuple(train(CONFIG, load_data("digits"))))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage path with a trial that was stopped after two of its three epochs."""
    folder = tmp_path_factory.mktemp("interrupted")
    session = Session(make_spec(folder))
    for _ in range(2):
        session.advance(3600.0)
        session.save()
    return folder


@pytest.fixture
def spec(interrupted: Path, tmp_path: Path) -> TrialSpec:
    """That trial, on a copy of its storage."""
    shutil.copytree(interrupted, tmp_path / "storage")
    return make_spec(tmp_path / "storage", report_at=())


def test_a_node_with_a_storage_of_its_own_is_refused_before_it_trains(tmp_path: Path) -> None:
    mark = mark_storage("a sweep", str(tmp_path / "shared"), "0123456789abcdef")
    Session(make_spec(tmp_path / "shared", storage_mark=mark))
    elsewhere = mark.replace("shared", "elsewhere")
    with pytest.raises(StorageError, match=f"does not share it: there is no {elsewhere} there; --storage-path must be"):
        Session(make_spec(tmp_path / "elsewhere", storage_mark=elsewhere))
    remove_stages(str(tmp_path / "shared"), "0123456789abcdef")
    assert not Path(mark).exists()


@fuzz
@given(content=st.binary(max_size=200), percent=st.integers(0, 99), truncated=st.booleans())
@example(content=b"", percent=0, truncated=True)
def test_no_flipped_bit_and_no_cut_is_believed(content: bytes, percent: int, truncated: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = TrialStorage(folder, "key", (0,))
        storage.write("file", content)
        assert storage.read("file") == content
        file = next(Path(folder).rglob("file"))
        if truncated:
            file.write_bytes(file.read_bytes()[: percent * file.stat().st_size // 100])
        else:
            flip(file, percent * file.stat().st_size * 8 // 100)
        damaged = file.read_bytes()
        with pytest.raises(DamagedFileError, match="file does not match its SHA-256") as error:
            storage.read("file")
        assert storage.read("file") is None
        (kept,) = Path(folder, "set-aside").iterdir()
        assert kept.read_bytes() == damaged and str(kept) in str(error.value)
        storage.remove()
        assert kept.exists(), "it stays when the record has the trial"


@pytest.mark.parametrize("where", [0, 64, 70, 0.3, 0.6, 0.999])
def test_a_trial_goes_on_from_the_checkpoint_before_a_damaged_one(
    spec: TrialSpec, undisturbed: list, where: float
) -> None:
    file = stored(spec, CHECKPOINT)
    flip(file, 8 * int(where if where >= 1 else where * file.stat().st_size))
    session = Session(spec)
    report = session.advance(0.0)
    assert [epoch.number for epoch in report.epochs] == [1, 2], "epoch 2 was trained again"
    said, went_on = report.warnings
    assert f"{file} does not match its SHA-256" in said and str(set_aside(spec)[0]) in said
    assert went_on == "it goes on after epoch 1"
    last = session.advance(3600.0)
    assert metrics(report.epochs + last.epochs) == undisturbed
    assert last.warnings == (), "it is said once"


def test_a_trial_without_a_checkpoint_that_can_be_used_starts_again(spec: TrialSpec, undisturbed: list) -> None:
    """One is cut off, as where the power failed. The other is of a version that wrote no digest."""
    cut, old = stored(spec, CHECKPOINT), stored(spec, FORMER_CHECKPOINT)
    cut.write_bytes(cut.read_bytes()[:100])
    old.write_bytes(old.read_bytes().partition(b"\n")[2])
    assert torch.load(old, weights_only=True)["history"], "it is a whole file"
    session = Session(spec)
    reports = [session.advance(0.0) for _ in range(3)]
    assert reports[0].warnings[-1] == "it starts from its first epoch"
    assert len(set_aside(spec)) == 2
    assert metrics(sum((report.epochs for report in reports), ())) == undisturbed


def test_an_intact_checkpoint_is_used_without_a_word(spec: TrialSpec, undisturbed: list) -> None:
    report = Session(spec).advance(3600.0)
    assert (metrics(report.epochs), report.done, report.warnings) == (undisturbed, True, ())


def test_a_checkpoint_of_another_training_is_kept_and_said(spec: TrialSpec) -> None:
    report = Session(spec.model_copy(update={"probe_every": 5})).advance(0.0)
    assert report.epochs[-1].number == 1
    assert "checkpoint.pt cannot be used: the checkpoint is of" in report.warnings[0]
    assert len(set_aside(spec)) == 2


def test_the_drivers_screen_shows_a_workers_warnings(spec: TrialSpec) -> None:
    report = TrialReport(
        epochs=(Epoch(1, 1.0, {"test_error": [0.5]}),), done=False, warnings=("checkpoint.pt cannot be used: why",)
    )
    screen = io.StringIO()
    with Display(Console(file=screen, width=40), "t", trials=1, epochs=3) as display:
        display.trial_started("1", spec)
        display.trial_reported("1", report_of(tune_result(report)))
    assert screen.getvalue() == "baseline: checkpoint.pt cannot be used: why\n"


def _fill_the_memory() -> None:
    torch.empty(1 << 50)


def _fill_the_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")  # there is no GPU here to fill


@pytest.mark.parametrize("fill", [_fill_the_memory, _fill_the_gpu])
def test_too_little_memory_is_not_taken_for_a_bad_checkpoint(
    spec: TrialSpec, monkeypatch: pytest.MonkeyPatch, fill: Callable[[], None]
) -> None:
    before = stored(spec, CHECKPOINT).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "load_state_dict", lambda *_: fill())
        with pytest.raises(MemoryError, match=r"out of memory while checkpoint.pt was loaded; it is kept"):
            Session(spec)
    assert stored(spec, CHECKPOINT).read_bytes() == before
    assert Session(spec).advance(3600.0).epochs[-1].number == 3


def test_a_fault_of_the_gpu_is_not_taken_for_a_bad_checkpoint(spec: TrialSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    before = stored(spec, CHECKPOINT).read_bytes()
    monkeypatch.setattr(Trainer, "load_state_dict", fail)
    with pytest.raises(torch.AcceleratorError):
        Session(spec)
    assert stored(spec, CHECKPOINT).read_bytes() == before


class Payload:
    """Pickled code that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self._mark,)


@pytest.mark.parametrize("write", [torch.save, pickle.dump])
def test_a_checkpoint_runs_no_code(spec: TrialSpec, tmp_path: Path, write: Callable) -> None:
    buffer = io.BytesIO()
    write({"history": Payload(tmp_path / "was here")}, buffer)
    storage_of(spec).write(CHECKPOINT, buffer.getvalue())
    report = Session(spec).advance(3600.0)
    assert not (tmp_path / "was here").exists()
    assert report.warnings[0].startswith("checkpoint.pt cannot be used: ") and "\n" not in report.warnings[0]
    assert report.warnings[1] == "it goes on after epoch 1"


@settings(fuzz, max_examples=12)
@given(data=st.data())
def test_a_checkpoint_that_someone_made_up_ends_in_one_line(interrupted: Path, data: st.DataObject) -> None:
    """Its digest fits, so only its content can give it away."""
    real = storage_of(make_spec(interrupted)).read(CHECKPOINT)
    assert real
    cut = st.integers(0, len(real) - 1).map(lambda size: real[:size])
    pickled = st.recursive(st.integers() | st.text(), lambda part: st.lists(part) | st.dictionaries(st.text(), part))
    content = data.draw(st.binary() | cut | pickled.map(_saved))
    with tempfile.TemporaryDirectory() as folder:
        spec = make_spec(Path(folder))
        storage_of(spec).write(CHECKPOINT, content)
        report = Session(spec).advance(0.0)
    assert len(report.warnings) == 2
    assert not any("\n" in warning for warning in report.warnings)
    assert report.epochs[-1].number == 1


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
