"""The record as a folder of plain files, so that it travels and pictures regenerate from a clone.

FOLDER/SWEEP/sweep.json                     name, status, tags, parameters, tables with the key of every row
FOLDER/SWEEP/origin/                        the packages and the changes to the code that it ran with
FOLDER/SWEEP/trials/NAME-KEY-seeds-0.json   config, seeds, status, tags, metrics as [step, value] by name
FOLDER/SWEEP/artifacts/NAME-.../model/      a trial's arrays: what pictures need and, where asked for, its weights
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from analysis.record.exported_files import SweepFile, TrialFile, read_checked, refuse_links
from analysis.record.origin import exported_origin
from analysis.record.recorded import ARRAYS_FOLDER, SweepRecord, TrialRecord
from analysis.record.unreadable import name_once, read_arrays
from trainable.files import format_seeds
from trainable.problem import first_problem


class ExportedRecord:
    """An exported record as a report's `Source`. Raises as `read_folder` does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sweeps, self._trials = read_folder(folder)
        self._origins = {sweep.run_id: exported_origin(folder / sweep_folder(sweep)) for sweep in self._sweeps}
        self._artifacts = artifacts_folders(self._sweeps, self._trials)

    def sweeps(self) -> list[SweepRecord]:
        """See `Source`."""
        return self._sweeps

    def histories(self) -> list[TrialRecord]:
        """See `Source`."""
        return self._trials

    def origin(self, sweep: SweepRecord) -> dict[str, str]:
        """See `Source`."""
        return self._origins[sweep.run_id]

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        """See `Source`."""
        file = self._folder / self._artifacts[trial.run_id] / ARRAYS_FOLDER / name
        return read_arrays(file, trial.name) if file.exists() else {}


def write_sweep(
    folder: Path, sweep: SweepRecord, trials: Iterable[TrialRecord], deleted: Collection[str] = ()
) -> list[TrialRecord]:
    """Write one sweep and its trials, with their histories. Returns the trials that are written: one that could not be
    read back is left out and named. What an earlier export has written of the `deleted` runs is removed."""
    home = folder / sweep_folder(sweep)
    (home / "trials").mkdir(parents=True, exist_ok=True)
    content = asdict(sweep) | {
        "tables": [table.model_dump(mode="json") for table in sweep.tables],
        "searches": [search.model_dump(mode="json") for search in sweep.searches],
    }
    (home / "sweep.json").write_text(json.dumps(content, indent=1) + "\n")
    contents: dict[str, dict] = {}
    written, unreadable = [], {}
    for trial in trials:
        content = asdict(trial) | {"config": trial.config.model_dump(mode="json")}
        content["metrics"] = content.pop("histories")  # whose last values the other field has
        try:
            TrialFile.model_validate(content)
        except ValidationError as error:
            unreadable[trial.run_id] = f"{trial.name} ({trial.run_id}): {first_problem(error)}"
            continue
        contents[trial.run_id] = content
        written.append(trial)
    names = _file_names(written)
    _remove_former(home, names, deleted)
    for run_id, name in names.items():
        (home / "trials" / f"{name}.json").write_text(_compact(contents[run_id]) + "\n")
    name_once(unreadable)
    return written


def _remove_former(home: Path, names: Mapping[str, str], deleted: Collection[str]) -> None:
    """Remove what a sweep's folder has of runs that were deleted, and of runs whose files have another name now."""
    for file in (home / "trials").glob("*.json"):
        run_id = json.loads(file.read_text())["run_id"]
        if names.get(run_id, file.stem) != file.stem or (run_id in deleted and run_id not in names):
            file.unlink()
            shutil.rmtree(home / "artifacts" / file.stem, ignore_errors=True)


def read_folder(folder: Path) -> tuple[list[SweepRecord], list[TrialRecord]]:
    """All sweeps and trials of a folder, oldest sweep first.

    Raises `FileNotFoundError` where it has no sweep, and `ValueError` in one line for the first thing in it that no
    export has written.
    """
    homes = sorted(file.parent for file in folder.glob("*/sweep.json"))
    if not homes:
        raise FileNotFoundError(f"{folder}: no exported sweep here (expected {folder}/SWEEP/sweep.json)")
    sweeps, trials = [], []
    for home in homes:
        refuse_links(home)
        sweep = read_checked(home / "sweep.json", SweepFile).record()
        _refuse_other_name(home, sweep_folder(sweep))
        sweeps.append(sweep)
        for file in sorted((home / "trials").glob("*.json")):
            trial = read_checked(file, TrialFile).record()
            _refuse_other_name(file, f"{_file_name(trial)}.json", f"{_file_name(trial)}-{trial.run_id[:8]}.json")
            if trial.sweep != sweep.run_id:
                raise ValueError(f"{file}: sweep {trial.sweep}: must be {sweep.run_id}, that of its folder")
            trials.append(trial)
    ids = [sweep.run_id for sweep in sweeps] + [trial.run_id for trial in trials]
    for run_id, count in Counter(ids).items():
        if count > 1:
            raise ValueError(f"{folder}: run_id {run_id} stands {count} times")
    sweeps.sort(key=lambda sweep: sweep.start_time)
    started = {sweep.run_id: sweep.start_time for sweep in sweeps}  # an old export has no times of trials
    return sweeps, sorted(trials, key=lambda trial: (trial.start_time or started[trial.sweep], started[trial.sweep]))


def _refuse_other_name(path: Path, *names: str) -> None:
    """A file's content says its name: another one would hide what belongs to it."""
    if path.name not in names:
        raise ValueError(f"{path}: must be named {' or '.join(names)}")


def sweep_folder(sweep: SweepRecord) -> str:
    """A sweep's folder name: its own name made fit for a file system, and its id, because names repeat."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', sweep.name)}-{sweep.run_id[:8]}"


def artifacts_folders(sweeps: Iterable[SweepRecord], trials: Iterable[TrialRecord]) -> dict[str, Path]:
    """Where the trials' artifacts are, in the record's folder, by run id."""
    by_sweep: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        by_sweep.setdefault(trial.sweep, []).append(trial)
    return {
        run_id: Path(sweep_folder(sweep), "artifacts", name)
        for sweep in sweeps
        for run_id, name in _file_names(by_sweep.get(sweep.run_id, ())).items()
    }


def _file_names(trials: Iterable[TrialRecord]) -> dict[str, str]:
    """The file names of one sweep's trials by run id, without their ending. Of several trials of the same training the
    first has its name, and the others have their ids in theirs."""
    names, taken = dict[str, str](), set[str]()
    for trial in sorted(trials, key=lambda trial: (trial.start_time, trial.run_id)):
        name = _file_name(trial)
        names[trial.run_id] = f"{name}-{trial.run_id[:8]}" if name in taken else name
        taken.add(name)
    return names


def _file_name(trial: TrialRecord) -> str:
    return f"{trial.name.replace('/', '-')}-{trial.key}-seeds-{format_seeds(trial.seeds)}"


def _compact(content: dict) -> str:
    """JSON with a line for each field and each metric."""
    metrics = content.pop("metrics")
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(series)}" for name, series in sorted(metrics.items()))
    return json.dumps(content, indent=1)[:-2] + ',\n "metrics": {\n' + lines + "\n }\n}"
