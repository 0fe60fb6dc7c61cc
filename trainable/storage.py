"""Storage of a trial's files until the record has them. Imports neither torch nor Ray.

Each trial has a folder, named by its key and seeds, in a local or shared folder or in an object store that pyarrow
supports (s3://, gs://). Only `TrialStorage` makes these names. The first line of a file is the SHA-256 of what follows,
in hexadecimal digits: `tail -n +2 FILE | sha256sum` prints it.
"""

import errno
import hashlib
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

from pyarrow import fs

from trainable.files import format_seeds

CHECKPOINT = "checkpoint.pt"
"""The training's state after some epoch. It is not recorded."""
FORMER_CHECKPOINT = "checkpoint.former.pt"
"""The checkpoint before that."""
DENIED = "ACCESS_DENIED"
"""What pyarrow says, without a number, where an object store refuses access."""
MARK = "shared.txt"
"""The file by which nodes know a storage that they share."""


class DamagedFileError(ValueError):
    """A file in the storage is not what was written. The message names it, and where it is kept now."""


class StorageError(OSError):
    """The storage cannot be read or written. The message names the place and the reason; `errno` is that of the
    system's error, if it has one, and `EACCES` where an object store refuses access."""


class TrialStorage:
    """The files of one trial.

    They remain after the process, the node and the sweep have ended, until the record has the trial. `read`, `fetch`
    and `write` raise `StorageError` where the storage cannot be used, and the others `OSError`.
    """

    def __init__(self, experiment_folder: str, key: str, seeds: tuple[int, ...]) -> None:
        self._filesystem, self._root = open_storage(experiment_folder)
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
            failure = StorageError(f"{self._folder} cannot be {done}: {reason}")
            failure.errno = errno.EACCES if DENIED in str(error) else error.errno
            raise failure from error

    def _has(self, name: str) -> bool:
        return self._filesystem.get_file_info(f"{self._folder}/{name}").type == fs.FileType.File


def _digest_line(content: bytes | memoryview) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}\n".encode()


_DIGEST_LINE_BYTES = len(_digest_line(b""))


def tune_folder(storage_path: str) -> str:
    """The folder or URI for the files that Ray Tune itself writes, inside the storage."""
    return inside(storage_path, "tune")


def experiment_folder(storage_path: str, experiment: str) -> str:
    """The folder or URI for the trials of an experiment, inside the storage. Two experiments may train the same trial
    at the same time: each has its own files."""
    return inside(storage_path, experiment)


def inside(storage_path: str, name: str) -> str:
    """A folder inside another one. A URI keeps its query."""
    if "://" not in storage_path:
        return f"{storage_path}/{name}"
    parts = urlsplit(storage_path)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}").geturl()


def open_storage(storage_path: str) -> tuple[fs.FileSystem, str]:
    """The file system of a storage path, and the path in that file system.

    A path without a scheme is a local folder, which is made absolute. Raises `pyarrow.ArrowInvalid` for an unknown
    scheme.
    """
    if "://" in storage_path:
        return fs.FileSystem.from_uri(storage_path)
    return fs.LocalFileSystem(), str(Path(storage_path).expanduser().resolve())


def write_mark(folder: str) -> None:
    """Make a folder with a file by which other nodes know that they see the same storage."""
    filesystem, path = open_storage(folder)
    filesystem.create_dir(path, recursive=True)
    with filesystem.open_output_stream(f"{path}/{MARK}") as file:
        file.write(b"Other nodes look for this file, to see whether they share this storage.\n")


def check_mark(folder: str) -> None:
    """Raises `StorageError` where this node does not see what `write_mark` wrote into the folder."""
    filesystem, path = open_storage(folder)
    if filesystem.get_file_info(f"{path}/{MARK}").type != fs.FileType.File:
        raise StorageError(
            f"{platform.node()} does not share it: there is no {path} there; --storage-path must be a folder or a URI "
            "that is the same on all nodes"
        )


def check_writable(storage_path: str) -> None:
    """Write and delete a small file in the storage. Raises `OSError` or `pyarrow.ArrowException` where that fails."""
    filesystem, root = open_storage(storage_path)
    filesystem.create_dir(root, recursive=True)
    test_file = f"{root}/.probe-{uuid.uuid4().hex}"
    with filesystem.open_output_stream(test_file) as file:
        file.write(b"probe")
    filesystem.delete_file(test_file)
