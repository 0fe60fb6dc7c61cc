"""The record as a folder of plain files, so that it travels and pictures regenerate from a clone.

FOLDER/SWEEP/sweep.json                     name, status, tags, parameters, tables with the key of every row
FOLDER/SWEEP/origin/                        the packages and the changes to the code that it ran with
FOLDER/SWEEP/trials/NAME-KEY-seeds-0.json   config, seeds, status, tags, metrics as [step, value] by name
FOLDER/SWEEP/artifacts/NAME-.../model/      a trial's arrays: what pictures need and, where asked for, its weights
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from analysis.exported import SweepFile, TrialFile, read_checked, refuse_links
from analysis.origin import exported_origin
from analysis.recorded import ARRAYS_FOLDER, SweepRecord, TrialRecord
from analysis.unreadable import first_problem, name_once, read_arrays
from trainable.storage import format_seeds


class Folder:
    """An exported record as a report's `Source`. Raises as `read_folder` does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sweeps, self._trials = read_folder(folder)

    def sweeps(self) -> list[SweepRecord]:
        """See `Source`."""
        return self._sweeps

    def histories(self) -> list[TrialRecord]:
        """See `Source`."""
        return [trial for trial in self._trials if trial.status == "FINISHED"]

    def unfinished(self) -> list[TrialRecord]:
        """See `Source`."""
        return [trial for trial in self._trials if trial.status != "FINISHED"]

    def origin(self, sweep: SweepRecord) -> dict[str, str]:
        """See `Source`."""
        return exported_origin(self._folder / sweep_folder(sweep))

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        """See `Source`."""
        sweep = next(sweep for sweep in self._sweeps if sweep.run_id == trial.sweep)
        file = self._folder / artifacts_folder(sweep, trial) / ARRAYS_FOLDER / name
        return read_arrays(file, trial.name) if file.exists() else {}


def write_sweep(folder: Path, sweep: SweepRecord, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Write one sweep and its trials, with their histories. Returns the trials that are written: one that could not be
    read back is left out and named."""
    home = folder / sweep_folder(sweep)
    (home / "trials").mkdir(parents=True, exist_ok=True)
    content = asdict(sweep) | {
        "tables": [table.model_dump(mode="json") for table in sweep.tables],
        "searches": [search.model_dump(mode="json") for search in sweep.searches],
    }
    (home / "sweep.json").write_text(json.dumps(content, indent=1) + "\n")
    written, unreadable = [], {}
    for trial in trials:
        content = asdict(trial) | {"config": trial.config.model_dump(mode="json")}
        content["metrics"] = content.pop("histories")  # whose last values the other field has
        try:
            TrialFile.model_validate(content)
        except ValidationError as error:
            unreadable[trial.run_id] = f"{trial.name} ({trial.run_id}): {first_problem(error)}"
            continue
        (home / "trials" / f"{trial_name(trial)}.json").write_text(_compact(content) + "\n")
        written.append(trial)
    name_once(unreadable)
    return written


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
            _refuse_other_name(file, f"{trial_name(trial)}.json")
            if trial.sweep != sweep.run_id:
                raise ValueError(f"{file}: sweep {trial.sweep}: must be {sweep.run_id}, that of its folder")
            trials.append(trial)
    ids = [sweep.run_id for sweep in sweeps] + [trial.run_id for trial in trials]
    for run_id, count in Counter(ids).items():
        if count > 1:
            raise ValueError(f"{folder}: run_id {run_id} stands {count} times")
    sweeps.sort(key=lambda sweep: sweep.start_time)
    order = {sweep.run_id: index for index, sweep in enumerate(sweeps)}
    return sweeps, sorted(trials, key=lambda trial: (order[trial.sweep], trial.start_time))


def _refuse_other_name(path: Path, name: str) -> None:
    """A file's content says its name: another one would hide what belongs to it."""
    if path.name != name:
        raise ValueError(f"{path}: must be named {name}")


def sweep_folder(sweep: SweepRecord) -> str:
    """A sweep's folder name: its own name made fit for a file system, and its id, because names repeat."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', sweep.name)}-{sweep.run_id[:8]}"


def artifacts_folder(sweep: SweepRecord, trial: TrialRecord) -> Path:
    """Where a trial's artifacts are, in the record's folder."""
    return Path(sweep_folder(sweep), "artifacts", trial_name(trial))


def trial_name(trial: TrialRecord) -> str:
    """A trial's file name without its ending: it is one name, not a path."""
    return f"{trial.name.replace('/', '-')}-{trial.key}-seeds-{format_seeds(trial.seeds)}"


def _compact(content: dict) -> str:
    """JSON with a line for each field and each metric."""
    metrics = content.pop("metrics")
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(series)}" for name, series in sorted(metrics.items()))
    return json.dumps(content, indent=1)[:-2] + ',\n "metrics": {\n' + lines + "\n }\n}"
