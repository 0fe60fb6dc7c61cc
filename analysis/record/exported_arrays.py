"""Which recorded arrays an export has: what a report reads of them, and no more, so that the files stay small.

The losses of the mini-batches and the probes are exported as they are, where a table measures them. Of the kernels only
those before and after the training are, for the networks and the one seed whose kernels a report draws.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from analysis.record.arrays import LAYERS, START, drawn_layers
from analysis.record.recorded import SweepRecord, TrialRecord
from trainable.files import PROBES, STEP_LOSSES, TRACES, TRAINED

SPLIT = {TRACES: (STEP_LOSSES, PROBES), LAYERS: (START, TRAINED)}
"""How the names of the arrays in each exported file begin."""


@dataclass(frozen=True)
class Selection:
    """The trials whose arrays a report reads."""

    measured: frozenset[str]
    """Keys of the rows whose losses or probes a table measures."""
    drawn: frozenset[str]
    """Run ids of the trials whose layers are drawn."""

    def files(self, trial: TrialRecord) -> tuple[str, ...]:
        """The files of arrays that an export writes for the trial."""
        traces = (TRACES,) if trial.key in self.measured else ()
        return (*traces, LAYERS) if trial.run_id in self.drawn else traces


def select_arrays(sweeps: Iterable[SweepRecord], trials: Iterable[TrialRecord]) -> Selection:
    """What a report on these sweeps and trials (oldest first) reads."""
    tables = [table for sweep in sweeps for table in sweep.tables]
    kept = drawn_layers(tables)
    lowest: dict[str, str] = {}
    for trial in sorted(trials, key=lambda trial: trial.seeds):
        if trial.complete and trial.key in kept and (trial.has(TRACES) or trial.has(LAYERS)):
            lowest.setdefault(trial.key, trial.run_id)
    measured = {row.key for table in tables if TRACES in table.measure.files for row in table.rows}
    return Selection(frozenset(measured), frozenset(lowest.values()))


def split_traces(folder: Path, files: Collection[str]) -> None:
    """Make these files of what a folder has in `TRACES` and `LAYERS`, and remove what is in neither. To do it again
    changes nothing."""
    arrays: dict[str, np.ndarray] = {}
    for name in SPLIT:
        if (folder / name).exists():
            arrays |= load_file(folder / name)
    for name, beginnings in reversed(SPLIT.items()):  # the layers first: they leave the traces
        part = {each: array for each, array in arrays.items() if name in files and each.startswith(beginnings)}
        if part:
            save_file(part, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
