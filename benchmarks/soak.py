"""A sweep that can be disturbed: its cluster of two nodes, its disk, and the faults."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from analysis.record.mlflow_record import Record
from analysis.record.recorded import TrialRecord
from benchmarks.clusters import RAY, STORE, Cluster
from benchmarks.machine import sweep_command

DISK_BYTES = 512_000_000
FULL_S = 10.0
"""Seconds for which the storage is full."""
EXPERIMENT = "soak"
MANY_SLOTS = ("--slots", "64")
"""With so many a driver records in a process of its own."""


@dataclass(frozen=True)
class Sample:
    """What the driver and the storage took at some moment."""

    open_files: int
    memory_mib: float
    storage_mib: float


@dataclass
class Soak:
    """A sweep that is disturbed."""

    head: Cluster
    folder: Path
    """The driver's: the record, the storage `disk` and the study."""
    chance: random.Random
    seeds: int
    second: subprocess.Popen | None = None
    """The second node."""
    driver: subprocess.Popen | None = None
    starts: int = 0
    """How often the command was run."""
    samples: list[Sample] = field(default_factory=list)

    def start(self) -> None:
        """Run the command, or run it again. Every other driver records in a process of its own."""
        what = ["--study", str(self.folder / "soak.yaml"), "--seeds", str(self.seeds), "--data", "digits"]
        small = ["--epochs", "1", "--set", "channels=[2,2]", "--set", "hidden=[4,4]"]
        where = ["--address", self.head.address, "--storage-path", str(self.folder / "disk"),
                 "--gpus-per-trial", "0"]  # fmt: skip
        record = ["--tracking-uri", self._record_uri, "--experiment", EXPERIMENT]
        command = sweep_command(*what, *small, *where, *record, *(MANY_SLOTS if self.starts % 2 else ()))
        self.starts += 1
        with (self.folder / "sweep.log").open("a") as log:
            self.driver = subprocess.Popen(
                command, cwd=self.folder, env=self.head.environment, stdout=log, stderr=log, start_new_session=True
            )

    def add_node(self) -> None:
        """Start the second node, or another in its place."""
        command = [RAY, "start", "--block", f"--address={self.head.address}", "--num-cpus=1", STORE]
        with (self.folder / "node.log").open("a") as log:
            self.second = subprocess.Popen(
                command, env=self.head.environment, stdout=log, stderr=log, start_new_session=True
            )

    def record(self) -> list[TrialRecord]:
        """The trials that are recorded now."""
        return Record(self._record_uri, EXPERIMENT).trials() if (self.folder / "mlflow.db").exists() else []

    @property
    def _record_uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def sample(self) -> None:
        """Note what is in use, if a driver runs."""
        assert self.driver
        with suppress(psutil.Error, FileNotFoundError):
            process = psutil.Process(self.driver.pid)
            used = sum(file.stat().st_size for file in (self.folder / "disk").rglob("*") if file.is_file())
            memory = process.memory_info().rss / 2**20
            self.samples.append(Sample(process.num_fds(), memory, used / 2**20))

    def kill_driver(self) -> bool:
        """Without a word, with all that it started. As each fault, it returns whether there was something to hit."""
        assert self.driver
        with suppress(ProcessLookupError):
            os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait()
        return True

    def kill_driver_alone(self) -> bool:
        """Its Ray workers and, every other time, the recorder's process live on."""
        assert self.driver
        self.driver.kill()
        self.driver.wait()
        return True

    def kill_recorder(self) -> bool:
        """The recorder's process, where it has one."""
        assert self.driver
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.driver.pid).children():
                if "recorder_process" in " ".join(process.cmdline()):
                    process.kill()
                    return True
        return False

    def kill_worker(self) -> bool:
        """One of those that train."""
        with suppress(psutil.NoSuchProcess):
            workers = [each for each in self._processes() if "Trainable" in " ".join(each.cmdline())]
            if workers:
                self.chance.choice(workers).kill()
                return True
        return False

    def _processes(self) -> Iterator[psutil.Process]:
        """Those of the cluster. A worker's own environment cannot be read: Ray writes its title there."""
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("RAY_TMPDIR") == str(self.head.folder):
                yield from process.children(recursive=True)

    def kill_node(self) -> bool:
        """The second one, and give another in its place."""
        assert self.second
        for process in [*psutil.Process(self.second.pid).children(recursive=True), psutil.Process(self.second.pid)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.second.wait()
        self.add_node()
        return True

    def flip_bit(self) -> bool:
        """In a checkpoint or a result that is not recorded yet, which the next driver reads."""
        if not self._stored_files():
            return False
        self.kill_driver()
        if not (files := self._stored_files()):
            return True
        file = self.chance.choice(files)
        content = bytearray(file.read_bytes())
        content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
        file.write_bytes(content)
        return True

    def _stored_files(self) -> list[Path]:
        stored = sorted((self.folder / "disk").glob("*/trials/**/*"))
        return [file for file in stored if file.is_file() and file.stat().st_size]

    def fill_storage(self) -> bool:
        """For a while, by somebody else."""
        disk = self.folder / "disk"
        state = os.statvfs(disk)
        with (disk / "of-somebody-else").open("wb") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize)
        time.sleep(FULL_S)
        (disk / "of-somebody-else").unlink()
        return True


FAULTS: dict[str, Callable[[Soak], bool]] = {
    "the driver's process group is killed": Soak.kill_driver,
    "the driver alone is killed": Soak.kill_driver_alone,
    "the recorder's process is killed": Soak.kill_recorder,
    "a worker is killed": Soak.kill_worker,
    "a node is killed": Soak.kill_node,
    "a bit of a stored file is flipped, and the driver killed": Soak.flip_bit,
    f"the storage is full for {FULL_S:g} s": Soak.fill_storage,
}
KILL_DRIVER = (Soak.kill_driver, Soak.kill_driver_alone, Soak.flip_bit)
"""The faults that end a run of the command."""


@contextmanager
def disk(folder: Path) -> Iterator[bool]:
    """Make a folder, a disk of its own where that is possible; says whether it is."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and not subprocess.run(mount, capture_output=True, check=False).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def study(trials: int, seeds: int) -> str:
    """A study of so many trainings: one table whose rows differ in their learning rates."""
    rows = [{"name": f"rate {i}", "change": {"lr": round(0.001 + 0.0001 * i, 4)}} for i in range(trials // seeds)]
    table = {"number": "90", "slug": "soak", "title": "Soak", "varies": "learning rate", "rows": rows}
    return yaml.safe_dump({"tables": [table]}, sort_keys=False)
