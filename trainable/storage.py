"""Storage of a trial's files until the record has them. Imports neither torch nor Ray.

Each trial has a folder, named by its key and seeds, in a local or shared folder or in an object store that pyarrow
supports (s3://, gs://). Only `TrialStorage` makes these names. The first line of a file is the SHA-256 of what follows,
in hexadecimal digits: `tail -n +2 FILE | sha256sum` prints it.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pyarrow import fs

T = TypeVar("T")

CHECKPOINT = "checkpoint.pt"
"""The training's state after some epoch. It is not recorded."""
FORMER_CHECKPOINT = "checkpoint.former.pt"
"""The checkpoint before that."""
WEIGHTS = "weights.safetensors"
"""Every seed's parameters and buffers after the last epoch, as `seed_0/conv1.weight`."""
TRACES = "traces.safetensors"
"""What pictures of a training are made from: the arrays whose names begin with the next four."""
STEP_LOSSES = "step_losses/"
"""The loss of each mini-batch (steps,), by seed: `step_losses/seed_0`."""
PROBES = "probes/"
"""Measurements along the gradient (probes, step sizes, 3), by seed; where the training was probed (see
`trainable.probes`)."""
EPOCH_KERNELS = "kernels/epoch_"
"""The first seed's first-layer kernels (outputs, 3, 3, 3): before the training, `kernels/epoch_0`, and after each
epoch."""
TRAINED = "trained/"
"""The first seed's first two convolutions and first batch norm after the training: `trained/conv1.weight`."""
CORRECT = "correct.safetensors"
"""Which held-out images each seed's network classifies correctly after the last epoch: packed bits, as `seed_0`."""
PREDICTIONS = "predictions.safetensors"
"""What each seed's network says of the held-out images after the last epoch, in the split's order: `seed_0/classes`
uint8 (N,) and the probability of that class, `seed_0/confidences` float16 (N,); the same with test-time flips,
`seed_0/flipped_classes` and `seed_0/flipped_confidences`; and the true `labels` uint8 (N,)."""
SURFACE = "surface.safetensors"
"""The loss surface of a trial, where it was computed: the axes `alphas` and `betas`, `loss` and `error` with one row
for each beta and one column for each alpha, and `images`, the number of images that they are averaged over."""


def format_seeds(seeds: tuple[int, ...]) -> str:
    """A short name for ascending seeds: that of (0, 1, 2, 5) is `0to2_5`."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return "_".join(f"{run[0]}to{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def seed_name(seed: int) -> str:
    """The name of a seed in the names of arrays."""
    return f"seed_{seed}"


def entries_under(prefix: str, named: Mapping[str, T]) -> dict[str, T]:
    """The entries whose names start with the prefix, which is removed from their names."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


class DamagedFileError(ValueError):
    """A file in the storage is not what was written. The message names it, and where it is kept now."""


class StorageError(OSError):
    """The storage cannot be read or written. The message names the place and the reason."""


class TrialStorage:
    """The files of one trial.

    They remain after the process, the node and the sweep have ended, until the record has the trial. `read`, `fetch`
    and `write` raise `StorageError` where the storage cannot be used, and the others `OSError`.
    """

    def __init__(self, storage_path: str, key: str, seeds: tuple[int, ...]) -> None:
        self._filesystem, self._root = open_storage(storage_path)
        self._trial = f"{key}-seeds-{format_seeds(seeds)}"
        self._folder = f"{self._root}/trials/{self._trial}"

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None where there is no such file.

        Raises `DamagedFileError` where it does not match its digest. The file is then set aside.
        """
        with self._named_failures("read"):
            if not self._has(name):
                return None
            with self._filesystem.open_input_file(f"{self._folder}/{name}") as file:
                stored = file.read()
        content = stored[_DIGEST_LINE_BYTES:]
        if not stored.startswith(_digest_line(content)):
            raise DamagedFileError(
                f"{self._folder}/{name} does not match its SHA-256: it is damaged, or of a version that wrote none; it "
                f"is kept as {self.set_aside(name)}"
            )
        return content

    def write(self, name: str, content: bytes | memoryview, former: str | None = None) -> None:
        """Write a file with its digest. A reader sees either the old content or all of the new.

        With `former`, the old file is kept under that name; for a moment it is then the only one. The file is written
        under a name of its own, so that two processes that write it at once do not mix their content.
        """
        unfinished = f"{self._folder}/{name}.{uuid.uuid4().hex}.unfinished"
        with self._named_failures("written"):
            self._filesystem.create_dir(self._folder, recursive=True)
            try:
                with self._filesystem.open_output_stream(unfinished) as file:
                    file.write(_digest_line(content))
                    file.write(content)
                if former and self._has(name):
                    self._filesystem.move(f"{self._folder}/{name}", f"{self._folder}/{former}")
                self._filesystem.move(unfinished, f"{self._folder}/{name}")
            except OSError:
                with suppress(OSError):  # a full disk needs its space
                    self._filesystem.delete_file(unfinished)
                raise

    def set_aside(self, name: str) -> str:
        """Keep a file that cannot be used where nothing reads it, and `remove` leaves it. Returns its new path."""
        folder = f"{self._root}/set-aside"
        self._filesystem.create_dir(folder, recursive=True)
        kept = f"{folder}/{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{self._trial}-{name}"
        self._filesystem.move(f"{self._folder}/{name}", kept)
        return kept

    def fetch(self, name: str, folder: Path) -> Path | None:
        """Copy a file's content into a local folder and return the copy's path, or None where there is no such file.
        Raises as `read` does."""
        content = self.read(name)
        if content is None:
            return None
        (folder / name).write_bytes(content)
        return folder / name

    def remove(self) -> None:
        """Delete the trial's folder if it exists."""
        if self._filesystem.get_file_info(self._folder).type != fs.FileType.NotFound:
            self._filesystem.delete_dir(self._folder)

    @contextmanager
    def _named_failures(self, done: str) -> Iterator[None]:
        """Turn an `OSError` of the block into a `StorageError` that names the folder."""
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StorageError(f"{self._folder} cannot be {done}: {reason}") from error

    def _has(self, name: str) -> bool:
        return self._filesystem.get_file_info(f"{self._folder}/{name}").type == fs.FileType.File


def _digest_line(content: bytes | memoryview) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}\n".encode()


_DIGEST_LINE_BYTES = len(_digest_line(b""))


def tune_folder(storage_path: str) -> str:
    """The folder or URI for the files that Ray Tune itself writes. It is inside the storage; a URI keeps its query."""
    if "://" not in storage_path:
        return f"{storage_path}/tune"
    parts = urlsplit(storage_path)
    return parts._replace(path=f"{parts.path.rstrip('/')}/tune").geturl()


def open_storage(storage_path: str) -> tuple[fs.FileSystem, str]:
    """The file system of a storage path, and the path in that file system.

    A path without a scheme is a local folder, which is made absolute. Raises `pyarrow.ArrowInvalid` for an unknown
    scheme.
    """
    if "://" in storage_path:
        return fs.FileSystem.from_uri(storage_path)
    return fs.LocalFileSystem(), str(Path(storage_path).expanduser().resolve())


def check_writable(storage_path: str) -> None:
    """Write and delete a small file in the storage. Raises `OSError` or `pyarrow.ArrowException` where that fails."""
    filesystem, root = open_storage(storage_path)
    filesystem.create_dir(root, recursive=True)
    test_file = f"{root}/.probe-{uuid.uuid4().hex}"
    with filesystem.open_output_stream(test_file) as file:
        file.write(b"probe")
    filesystem.delete_file(test_file)
