"""The record as a folder of plain files, so that it travels and pictures regenerate from a clone.

FOLDER/SWEEP/sweep.json                     name, status, tags, parameters, tables with the key of every row
FOLDER/SWEEP/trials/NAME-KEY-seeds-0.json   config, seeds, status, tags, metrics as [step, value] by name
FOLDER/SWEEP/artifacts/NAME-.../model/      a trial's arrays: what pictures need and, where asked for, its weights
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from analysis.record import ARRAYS_FOLDER, SweepRecord, TrialRecord
from trainable.config import Config
from trainable.search_definition import ResolvedSearch
from trainable.storage import format_seeds
from trainable.study import ResolvedTable, StudyFile


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

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        """See `Source`."""
        sweep = next(sweep for sweep in self._sweeps if sweep.run_id == trial.sweep)
        file = self._folder / artifacts_folder(sweep, trial) / ARRAYS_FOLDER / name
        return load_file(file) if file.exists() else {}


def write_sweep(folder: Path, sweep: SweepRecord, trials: Iterable[TrialRecord]) -> list[Path]:
    """Write one sweep and its trials, with their histories; returns the files."""
    home = folder / sweep_folder(sweep)
    (home / "trials").mkdir(parents=True, exist_ok=True)
    content = asdict(sweep) | {
        "tables": [table.model_dump(mode="json") for table in sweep.tables],
        "searches": [search.model_dump(mode="json") for search in sweep.searches],
    }
    files = [home / "sweep.json"]
    files[0].write_text(json.dumps(content, indent=1) + "\n")
    for trial in trials:
        files.append(home / "trials" / f"{trial_name(trial)}.json")
        content = asdict(trial) | {"config": trial.config.model_dump(mode="json")}
        content["metrics"] = content.pop("histories")  # whose last values the other field has
        files[-1].write_text(_compact(content) + "\n")
    return files


def read_folder(folder: Path) -> tuple[list[SweepRecord], list[TrialRecord]]:
    """All sweeps and trials of a folder, oldest sweep first. Raises `FileNotFoundError` where it has no sweep."""
    homes = sorted(file.parent for file in folder.glob("*/sweep.json"))
    if not homes:
        raise FileNotFoundError(f"{folder}: no exported sweep here (expected {folder}/SWEEP/sweep.json)")
    sweeps, trials = [], []
    for home in homes:
        content = json.loads((home / "sweep.json").read_text())
        content["tables"] = tuple(ResolvedTable(**table) for table in content["tables"])
        content["study_file"] = StudyFile(**content["study_file"]) if content.get("study_file") else None
        content["searches"] = tuple(ResolvedSearch(**search) for search in content.get("searches", ()))
        sweeps.append(SweepRecord(**content))
        for file in sorted((home / "trials").glob("*.json")):
            content = json.loads(file.read_text())
            content["config"], content["seeds"] = Config(**content["config"]), tuple(content["seeds"])
            histories = {name: [(s, v) for s, v in series] for name, series in content["metrics"].items()}
            content["histories"] = histories
            content["metrics"] = {name: series[-1][1] for name, series in histories.items() if series}
            trials.append(TrialRecord(**content))
    sweeps.sort(key=lambda sweep: sweep.start_time)
    order = {sweep.run_id: index for index, sweep in enumerate(sweeps)}
    return sweeps, sorted(trials, key=lambda trial: (order[trial.sweep], trial.start_time))


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
