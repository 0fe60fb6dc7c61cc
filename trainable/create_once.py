"""A folder that several processes of a node want at the same time and one of them makes."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def create_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """Return the folder `target`; the first process that finds it missing fills it. Nobody ever sees a part of it."""
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
