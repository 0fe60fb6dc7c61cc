"""Where a trial's files live until the record has them. No torch and no Ray here.

Each trial has one folder, named by its key and seeds, in any file system that pyarrow knows (a local or shared folder,
s3://, gs://). `TrialStorage` is the one class that makes these names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pyarrow import fs

T = TypeVar("T")

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"
TRACES = "traces.safetensors"
"""What a training leaves for pictures: by seed the loss of every mini-batch and the probes along the gradient; of the
first seed the first layer's kernels by epoch and the first two layers when trained."""
CORRECT = "correct.safetensors"
"""Which images of the held-out split the last epoch of each seed classified correctly: packed bits as `seed_0`."""
SURFACE = "surface.safetensors"
"""Of a trial whose loss surface was computed: `alphas`, `betas`, `loss` and `error` by beta and alpha, and `images`."""


def format_seeds(seeds: tuple[int, ...]) -> str:
    """Ascending seeds as a short name: (0, 1, 2, 5) is `0to2_5`."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return "_".join(f"{run[0]}to{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def entries_under(prefix: str, named: Mapping[str, T]) -> dict[str, T]:
    """The entries whose names start with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


class TrialStorage:
    """The files of one trial. They outlive the process, the node and the sweep, until the record has the trial."""

    def __init__(self, storage_path: str, key: str, seeds: tuple[int, ...]) -> None:
        self._filesystem, root = open_storage(storage_path)
        self._folder = f"{root}/trials/{key}-seeds-{format_seeds(seeds)}"

    def read(self, name: str) -> bytes | None:
        """A file's content, or None where there is no such file."""
        path = f"{self._folder}/{name}"
        if self._filesystem.get_file_info(path).type != fs.FileType.File:
            return None
        with self._filesystem.open_input_file(path) as file:
            return file.read()

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a file so that a reader sees the old content or the new, never a part."""
        self._filesystem.create_dir(self._folder, recursive=True)
        unfinished = f"{self._folder}/{name}.unfinished"
        with self._filesystem.open_output_stream(unfinished) as file:
            file.write(content)
        self._filesystem.move(unfinished, f"{self._folder}/{name}")

    def fetch(self, name: str, folder: Path) -> Path | None:
        """Copy a file into a local folder; None where there is no such file."""
        content = self.read(name)
        if content is None:
            return None
        (folder / name).write_bytes(content)
        return folder / name

    def remove(self) -> None:
        """Delete the trial's folder."""
        if self._filesystem.get_file_info(self._folder).type != fs.FileType.NotFound:
            self._filesystem.delete_dir(self._folder)


def tune_folder(storage_path: str) -> str:
    """Where Ray Tune keeps what it writes of a sweep; the query of a URI stays its last part."""
    if "://" not in storage_path:
        return f"{storage_path}/tune"
    parts = urlsplit(storage_path)
    return parts._replace(path=f"{parts.path.rstrip('/')}/tune").geturl()


def open_storage(storage_path: str) -> tuple[fs.FileSystem, str]:
    """The file system and the path in it. A path without a scheme is a local folder, made absolute."""
    if "://" in storage_path:
        return fs.FileSystem.from_uri(storage_path)
    return fs.LocalFileSystem(), str(Path(storage_path).expanduser().resolve())


def check_writable(storage_path: str) -> None:
    """Write and delete a small file. Raises `OSError` or `pyarrow.ArrowException` where that fails."""
    filesystem, root = open_storage(storage_path)
    filesystem.create_dir(root, recursive=True)
    probe = f"{root}/.probe"
    with filesystem.open_output_stream(probe) as file:
        file.write(b"probe")
    filesystem.delete_file(probe)
