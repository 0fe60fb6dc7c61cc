"""An export has the arrays that a report reads, and no more."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from analysis.record.arrays import LAYERS, layers_of
from analysis.record.exported_arrays import select_arrays, split_traces
from analysis.record.recorded import TrialRecord
from analysis.record.replicates import replicates
from tests.analysis_records import TAGS, Recorded, resolved_row, sweep, table, trial
from trainable.config import Config
from trainable.files import TRACES
from trainable.measures import LOSSES

ARRAYS = {
    "step_losses/seed_0": np.linspace(2, 0, 40, dtype=np.float32),
    "probes/seed_0": np.ones((2, 8, 3), np.float32),
    "kernels/epoch_0": np.zeros((4, 3, 3, 3), np.float32),
    "kernels/epoch_1": np.ones((4, 3, 3, 3), np.float32),
    "trained/conv1.weight": np.full((4, 3, 3, 3), 2, np.float32),
}


def traced(name: str, config: Config, seed: int) -> TrialRecord:
    made = trial(name, {seed: [0.5]}, config, tags=TAGS | {"files": TRACES})
    return replace(made, run_id=f"{name}-{seed}")


def test_losses_go_where_a_table_measures_them_and_layers_with_one_seed() -> None:
    slow = Config(lr=1e-4)
    rows = (resolved_row("1e-4", slow),)
    envelope = table().model_copy(update={"number": "9", "slug": "envelope", "measure": LOSSES, "rows": rows})
    trials = [traced("baseline", Config(), 2), traced("baseline", Config(), 1), traced("slow", slow, 0)]
    trials += [traced("hinge", Config(loss="hinge"), 0), traced("norm", Config(batch_norm=True), 0)]
    unfinished = replace(traced("baseline", Config(), 0), status="KILLED")
    selection = select_arrays([sweep(table(), envelope)], [unfinished, *trials])
    files = {each.run_id: selection.files(each) for each in trials}
    assert files == {
        "baseline-2": (), "baseline-1": (LAYERS,), "slow-0": (TRACES,), "hinge-0": (),
        "norm-0": (),  # in no table
    }  # fmt: skip


@pytest.mark.parametrize("files", [(), (TRACES,), (LAYERS,), (TRACES, LAYERS)])
def test_traces_are_split_as_they_are_and_once(files: tuple[str, ...], tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / TRACES)
    split_traces(tmp_path, files)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(first) == set(files)
    names = {name: set(load_file(tmp_path / name)) for name in files}
    expected = {
        TRACES: {"step_losses/seed_0", "probes/seed_0"},
        LAYERS: {"kernels/epoch_0", "trained/conv1.weight"},
    }
    assert names == {name: expected[name] for name in files}
    for name in files:
        for each, array in load_file(tmp_path / name).items():
            assert array.dtype == ARRAYS[each].dtype and np.array_equal(array, ARRAYS[each])
    split_traces(tmp_path, files)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first


def test_layers_are_drawn_alike_from_both_files() -> None:
    each = traced("baseline", Config(), 0)
    layers = {name: array for name, array in ARRAYS.items() if name in ("kernels/epoch_0", "trained/conv1.weight")}
    drawn = []
    for file, arrays in ((TRACES, ARRAYS), (LAYERS, layers)):
        record = Recorded([each], sweep(table()))
        record.files[each.run_id, file] = arrays
        drawn.append(layers_of(record, replicates([each])[each.key]))
    assert drawn[0] and drawn[1]
    assert np.array_equal(drawn[0].start, drawn[1].start) and list(drawn[0].trained) == list(drawn[1].trained)
