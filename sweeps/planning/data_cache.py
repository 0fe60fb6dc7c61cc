"""What a person reads where prepared data cannot be kept on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from trainable.errors import UsageError


@contextmanager
def named_cache_problems() -> Iterator[None]:
    """Raises `UsageError`, which names the setting, where the folder for prepared data cannot be used."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # pathlib raises the latter where there is no home
        raise UsageError(f"the data: {error}; XDG_CACHE_HOME names a folder in which prepared data is kept") from error
