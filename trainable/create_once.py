"""Create a folder once when several processes of a node need it at the same time, and keep few of its kind."""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

UNFINISHED = "unfinished-"
"""How the name of a folder begins that is being filled."""
UNFINISHED_S = 24 * 3600.0
"""An unfinished folder to which nothing was added for this long was left by a process that died."""
KEPT = 4
"""Folders beside each other that are kept: those that were asked for last."""

logger = logging.getLogger(__name__)


def create_once(
    target: Path, fill: Callable[[Path], None], is_intact: Callable[[Path], bool] = lambda folder: True
) -> Path:
    """Return the folder `target`, filled by the first process that finds it missing or not intact.

    The others wait for that process. The folder appears under its name only when `fill` has returned, so nobody sees a
    part of it. An exception from `fill` is passed on and leaves no folder. Creating a folder removes those beside it
    that were not asked for in the longest time; what a process has mapped of them stays readable to it.
    """
    if not (target.is_dir() and is_intact(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if target.is_dir() and not is_intact(target):
                logger.warning("%s is damaged; it is made again", target)
                shutil.rmtree(target)
            if not target.is_dir():
                _create(target, fill)
                _remove_oldest(target.parent)
    with suppress(OSError):  # another person's cache can be used, but not marked
        os.utime(target)
    return target


def _create(target: Path, fill: Callable[[Path], None]) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
    try:
        fill(unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _remove_oldest(parent: Path) -> None:
    """Remove all but the newest folders, and what processes that were killed had not finished."""
    changed: dict[Path, float] = {}
    for path in parent.iterdir():
        with suppress(FileNotFoundError):  # another process has just finished it
            if path.is_dir():
                changed[path] = path.stat().st_mtime
    unfinished = {path for path in changed if path.name.startswith(UNFINISHED)}
    left = [path for path in unfinished if time.time() - changed[path] > UNFINISHED_S]
    oldest = sorted(changed.keys() - unfinished, key=changed.__getitem__)[:-KEPT]
    for folder in [*left, *oldest]:
        shutil.rmtree(folder, ignore_errors=True)
