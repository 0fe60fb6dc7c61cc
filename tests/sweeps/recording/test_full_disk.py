"""Full disks, which are real: small file systems in memory. A line names the place, and the next run is whole."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.record.mlflow_record import Record
from sweeps.recording.recorder import Recorder
from sweeps.recording.tracking import ensure_experiment
from trainable.storage import StorageError, TrialStorage

SIZE = 4_000_000
TWO_TRIALS = ("--data", "digits", "--epochs", "1", "--studies", "tables", "--only", "3")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes of the disk free."""
    state = os.statvfs(disk)
    file = disk / "of-somebody-else"
    file.write_bytes(b"0" * max(0, state.f_bavail * state.f_frsize - leave))
    return file


def test_a_file_that_does_not_fit_is_named_and_leaves_its_space(disk: Path) -> None:
    storage = TrialStorage(str(disk), "key", (0,))
    storage.write("checkpoint.pt", b"1" * 1000)
    with pytest.raises(StorageError, match=r"disk/trials/key-seeds-0 cannot be written: No space left on device"):
        storage.write("checkpoint.pt", b"2" * SIZE)
    assert [file.name for file in disk.rglob("*") if file.is_file()] == ["checkpoint.pt"]
    assert storage.read("checkpoint.pt") == b"1" * 1000


def test_a_record_that_is_full_takes_the_rest_later(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.recording.writer.RETRY_S", 0.1)
    client, experiment_id = ensure_experiment(f"sqlite:///{disk}/mlflow.db", "e")
    recorder = Recorder(client, experiment_id, name="sweep", tags={}, params={})
    other = fill(disk, leave=0)
    recorder.act(lambda client: [client.set_tag(recorder.run_id, f"tag-{index}", "x" * 4000) for index in range(40)])
    assert not recorder.flush(patience_s=0.5)
    assert "full" in recorder.problem or "disk I/O" in recorder.problem
    other.unlink()
    assert recorder.finish("FINISHED", patience_s=5)


@pytest.mark.reliability
@pytest.mark.parametrize("place", ["--storage-path", "--tracking-uri"])
def test_a_sweep_names_the_disk_that_is_full_and_goes_on(
    place: str, disk: Path, tmp_path: Path, sweep: Callable[..., subprocess.CompletedProcess]
) -> None:
    named = str(disk) if place == "--storage-path" else f"sqlite:///{disk}/mlflow.db"
    other = fill(disk, leave=300_000)
    first = sweep(*TWO_TRIALS, place, named)
    assert first.returncode == 1, first.stderr
    (line,) = [line for line in first.stderr.splitlines() if line.startswith("error: ")]
    assert named in line and "free space there" in line and "run the same command again" in line
    assert "Traceback" not in first.stderr
    other.unlink()
    subprocess.run(["mount", "-o", "remount,size=100000000", str(disk)], check=True)
    second = sweep(*TWO_TRIALS, place, named)
    assert second.returncode == 0, second.stderr
    uri = named if place == "--tracking-uri" else f"sqlite:///{tmp_path}/mlflow.db"
    assert sorted(trial.name for trial in Record(uri, "ablations-digits").trials() if trial.complete) == [
        "baseline",
        "loss-hinge",
    ]
    assert not [file for file in disk.rglob("*.unfinished*") if file.is_file()]
