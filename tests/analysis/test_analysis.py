"""Analysis is computed from recorded trials alone: every cell of a small record is checked by hand or against SciPy."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.plots.kernels import PIXEL, kernel_grid
from analysis.plots.table_overview import draw_tables
from analysis.record.exported_record import read_folder, write_sweep
from analysis.record.replicates import replicates
from analysis.tables import latest_tables, reproduce
from tests.analysis_records import TAGS, sweep, table, trial
from trainable.config import Config


def test_cells_are_minima_over_epochs_and_means_over_seeds() -> None:
    trials = [trial("baseline", {0: [0.5, 0.30, 0.32]}, Config()), trial("more", {1: [0.4, 0.36, 0.34]}, Config())]
    (reproduced,) = reproduce([table()], replicates(trials))
    row = reproduced.rows[0]
    assert row.seeds == (0, 1)
    cell = row.held_out
    assert cell is not None and row.train is not None
    assert (cell.minima, cell.epochs, cell.finals) == ((0.30, 0.34), (2, 3), (0.32, 0.34))
    assert cell.mean == pytest.approx(0.32)
    assert row.train.mean == pytest.approx(0.16)


def test_intervals_agree_with_scipy() -> None:
    errors = {seed: [error] for seed, error in enumerate([0.30, 0.31, 0.305, 0.315])}
    (reproduced,) = reproduce([table()], replicates([trial("baseline", errors, Config())]))
    cell = reproduced.rows[0].held_out
    assert cell is not None and cell.half_width is not None
    low, high = stats.t.interval(0.95, 3, loc=cell.mean, scale=stats.sem(cell.minima))
    assert (cell.mean - cell.half_width, cell.mean + cell.half_width) == pytest.approx((low, high))
    spread = np.std(cell.minima, ddof=1) * np.sqrt(1 + 1 / 4)
    assert cell.next_run() == pytest.approx(stats.t.interval(0.95, 3, loc=cell.mean, scale=spread))


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.295, 0.300, 0.305], "yes"),
        ([0.350, 0.352, 0.351], "no"),
        ([0.310], "one seed"),
    ],
)
def test_a_printed_figure_is_judged_by_the_next_runs_interval(errors: list[float], expected: str) -> None:
    by_seed = {seed: [error] for seed, error in enumerate(errors)}
    (reproduced,) = reproduce([table()], replicates([trial("baseline", by_seed, Config())]))
    assert reproduced.rows[0].judgements is not None
    assert reproduced.rows[0].judgements[1] == expected


def test_a_table_is_taken_from_the_latest_sweep() -> None:
    later = table().model_copy(update={"title": "Loss, again"})
    first_b = table().model_copy(update={"number": "10"})
    tables = latest_tables([sweep(table(), first_b), sweep(later)], trainings=())
    assert [(t.number, t.title) for t in tables] == [("3", "Loss, again"), ("10", "Loss")]


def test_a_record_in_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    errors, config = {0: [0.3, 1 / 3], 1: [0.4, 0.2]}, Config(channels=(4, 8), epochs=2)
    tags = TAGS | {
        "role": "trial",
        "key": config.key("abc"),
        "seeds": "[0, 1]",
        "config": json.dumps(config.canonical()),
    }
    trials = [trial(name, errors, config, run_id=name[0], tags=tags) for name in ("1/2", "plain, SGD 0.1")]
    written = replace(sweep(table()), tags={"role": "sweep"})
    assert write_sweep(tmp_path, written, trials) == trials
    assert read_folder(tmp_path) == ([written], trials)
    twice = [replace(each, run_id=f"{each.run_id}-again", start_time=7) for each in trials]
    write_sweep(tmp_path, written, [*trials, *twice])
    assert read_folder(tmp_path)[1] == [*trials, *twice], "a name that is taken hides no trial"
    with pytest.raises(FileNotFoundError, match="no exported sweep here"):
        read_folder(tmp_path / "elsewhere")


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    trainings = replicates([trial("baseline", {0: [0.3], 1: [0.31]}, Config())])
    draw_tables(reproduce([table()], trainings), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_kernels_share_a_symmetric_scale() -> None:
    kernels = np.zeros((9, 3, 3, 3), np.float32)
    kernels[0, 0] = 2.0
    kernels[1, 2] = -1.0
    picture = kernel_grid(kernels, bound=2.0)
    side = 3 * PIXEL + 4
    assert picture.shape == (2 * side, 8 * side, 3)
    assert picture[5, 5].tolist() == [255, 128, 128]
    assert picture[5, side + 5].tolist() == [128, 128, 64]
    assert picture[5, 2 * side + 5].tolist() == [128, 128, 128], "a dead kernel is grey"
    assert picture[side + 5, side + 5].tolist() == [255, 255, 255], "no kernel there"
