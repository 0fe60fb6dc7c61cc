"""The folders that commands write to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainable.errors import UsageError, first_line


@contextmanager
def named_write_failures(folder: Path) -> Iterator[None]:
    """Raise `UsageError` in one line where what is inside cannot write to the folder."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {first_line(error)}") from error
