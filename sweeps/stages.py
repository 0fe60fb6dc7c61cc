"""The folders that Ray Tune writes for the stages of a sweep.

Nothing in them is needed once the stage is over: trials keep their checkpoints elsewhere, and the record has their
errors.
"""

from contextlib import suppress

from pyarrow import ArrowException, fs

from trainable.storage import open_storage, tune_folder


def stage_name(sweep: str, title: str, run_id: str) -> str:
    """The name of a stage's folder. Two sweeps may have the same name, but never the same run."""
    return f"{sweep}-{title}{_ending(run_id)}"


def remove_stages(storage_path: str, run_id: str) -> None:
    """Delete the folders of a sweep that is over. They are left where the storage fails."""
    with suppress(OSError, ArrowException):
        filesystem, folder = open_storage(tune_folder(storage_path))
        for each in filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
            if each.base_name.endswith(_ending(run_id)):
                filesystem.delete_dir(each.path)


def _ending(run_id: str) -> str:
    return f"-{run_id[:8]}"
