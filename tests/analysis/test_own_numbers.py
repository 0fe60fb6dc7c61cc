"""The report's numbers of trainings of one's own."""

from dataclasses import replace
from pathlib import Path

from analysis.statistics.intervals import mean_text
from tests.analysis_records import Recorded, page_of, sweep, table, trial
from trainable.config import Config


def test_the_report_has_the_last_numbers_of_each_row_below_its_errors(tmp_path: Path) -> None:
    """A row may lack a number; of a seed that was trained twice the first training counts."""
    names = {"cross-entropy": Config(data="digits"), "hinge": Config(data="digits", loss="hinge")}
    own = {
        "cross-entropy": {"per_seed/own/gap_0": 0.5, "per_seed/own/gap_1": 0.7, "own/gap": 0.6},
        "hinge": {"per_seed/own/gap_0": 2.0, "own/gap": 2.0, "per_seed/own/steps_0": 12345.0, "own/steps": 12345.0},
    }
    trials = []
    for name, config in names.items():
        trained = trial(name, {seed: [0.4, 0.3] for seed in ((0, 1) if name == "cross-entropy" else (0,))}, config)
        trials.append(replace(trained, metrics=trained.metrics | own[name]))
    again = replace(trials[1], run_id="again", metrics=trials[1].metrics | {"per_seed/own/steps_0": 9.0})
    page = page_of(tmp_path, Recorded([*trials, again], sweep(table("digits"))))
    assert "| numbers of the training, last epoch | gap | steps |" in page
    assert f"| cross-entropy | {mean_text([0.5, 0.7], '.4g')} | - |" in page
    assert "| hinge | 2 | 12345.0 |" in page
    lines = (tmp_path / "table-3-numbers.csv").read_text().splitlines()
    assert lines == ["row,seed,number,value", "cross-entropy,0,gap,0.5", "cross-entropy,1,gap,0.7", "hinge,0,gap,2",
                     "hinge,0,steps,12345"]  # fmt: skip


def test_a_table_without_such_numbers_has_no_table_of_them(tmp_path: Path) -> None:
    trained = trial("hinge", {0: [0.4]}, Config(data="digits", loss="hinge"))
    assert "numbers of the training" not in page_of(tmp_path, Recorded([trained], sweep(table("digits"))))
