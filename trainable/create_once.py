"""Create a folder once when several processes of a node need it at the same time."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def create_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """Return the folder `target`, filled by the first process that finds it missing.

    The others wait for that process. The folder appears under its name only when `fill` has returned, so nobody sees a
    part of it. An exception from `fill` is passed on and leaves no folder.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            unfinished = Path(tempfile.mkdtemp(dir=target.parent))
            try:
                fill(unfinished)
                unfinished.chmod(0o755)
                unfinished.rename(target)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return target
