"""The folders that Ray Tune writes for the stages of a sweep.

Nothing in them is needed once the stage is over: trials keep their checkpoints elsewhere, and the record has their
errors.
"""

from contextlib import suppress

from pyarrow import ArrowException, fs

from trainable.storage import inside, open_storage, tune_folder, write_mark


def stage_name(sweep: str, title: str, run_id: str) -> str:
    """The name of a stage's folder. Two sweeps may have the same name, but never the same run."""
    return f"{sweep}-{title}{_ending(run_id)}"


def mark_storage(sweep: str, storage_path: str, run_id: str) -> str:
    """Write a file by which workers know the storage of a sweep. Returns its folder, which goes with the stages'."""
    folder = inside(tune_folder(storage_path), stage_name(sweep, "storage", run_id))
    write_mark(folder)
    return folder


def remove_stages(storage_path: str, run_id: str) -> None:
    """Delete the folders of a sweep that is over. They are left where the storage fails."""
    with suppress(OSError, ArrowException):
        filesystem, folder = open_storage(tune_folder(storage_path))
        for each in filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
            if each.base_name.endswith(_ending(run_id)):
                filesystem.delete_dir(each.path)


def _ending(run_id: str) -> str:
    return f"-{run_id[:8]}"
