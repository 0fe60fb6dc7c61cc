"""Copy a data folder from an object store to this node, once."""

import hashlib
import json
from pathlib import Path, PurePosixPath

from pyarrow import ArrowException, fs

from trainable.create_once import create_once
from trainable.errors import DataError, first_line


def fetch(uri: str, cache: Path, setting: str) -> Path:
    """Return a local copy of all files under a URI that pyarrow supports (s3://, gs://, ...).

    The copy has the name that the folder has there. It is kept in a folder of `cache` whose name changes with the
    files' sizes and times. Many processes may call this at once: one of them copies. Raises `DataError` where the URI,
    which `setting` gave, cannot be read or is empty.
    """
    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
        infos = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
        files = [info for info in infos if info.type == fs.FileType.File]
        if not files:
            raise DataError(f"{setting} {uri}: no files there")
        own = Path(root).name
        times = [(file.path, file.size, file.mtime_ns) for file in sorted(files, key=lambda file: file.path)]
        stats = [uri, own, *times]
        name = hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]

        def copy(folder: Path) -> None:
            for file in files:  # a bucket has no folders, and pyarrow 25 makes none for its files
                (folder / own / PurePosixPath(file.path).relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            local = fs.LocalFileSystem()
            fs.copy_files(root, str(folder / own), source_filesystem=filesystem, destination_filesystem=local)

        return create_once(cache / name, copy) / own
    except (OSError, ArrowException) as error:
        raise DataError(f"{setting} {uri}: cannot be read: {first_line(error)}") from error
