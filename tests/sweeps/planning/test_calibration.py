"""The calibration of a search: planned like any table, extended and not repeated, its taus checked against SciPy."""

import json
from pathlib import Path

import pytest
from scipy import stats

from analysis.record.mlflow_record import Record
from analysis.record.replicates import replicates
from analysis.statistics.rank_agreement import rank_agreements
from sweeps.planning.table_plan import resolve_table
from sweeps.studies.calibration import calibration_study
from sweeps.studies.search import SEARCH
from tests.analysis_records import trial
from tests.conftest import ONE_SLOT, Command
from trainable.config import Config

ENDS = [0.30, 0.25, 0.35, 0.20, 0.28]
EARLY = [0.50, 0.50, 0.60, 0.40, 0.45]
AVERAGED = [0.45, 0.40, 0.50, 0.30, 0.42]
THIRDS = [0.40, 0.38, 0.36, 0.30, 0.37]


def test_more_configs_extend_a_calibration() -> None:
    few, many = (calibration_study(SEARCH, count, 9).tables[0].rows for count in (2, 3))
    assert many[:6] == few
    assert [row.name for row in few[:3]] == ["config 1", "config 1, a third", "config 1, a half"]
    assert [row.change.get("epochs") for row in few[:3]] == [9, 3, 4]
    assert all(row.change["protocol"] == "B" and row.change["batch_norm"] for row in many)


def test_taus_are_scipys() -> None:
    (table,) = calibration_study(SEARCH, 5, 6).tables
    resolved = resolve_table("calibration", table, {"data": "digits", "epochs": 6}, "abc", 1)
    trials = []
    for row in resolved.rows:
        number = int(row.name.split(",")[0].split()[1]) - 1
        if "half" in row.name:
            continue
        errors = [THIRDS[number]] if "third" in row.name else [AVERAGED[number], ENDS[number]]
        histories = {"val_error/seed_0": list(enumerate(errors, start=1))}
        if "third" not in row.name:
            histories["raw_val_error/seed_0"] = [(1, EARLY[number]), (2, ENDS[number] + 0.01)]
        trials.append(trial(row.name, {}, row.config, seeds=(0,), histories=histories))
    made = {(each.signal, each.epochs): each for each in rank_agreements(resolved, replicates(trials))}
    expected = {
        ("error", 1): EARLY,
        ("error of the moving average", 1): AVERAGED,
        ("last error of a shorter training", 2): THIRDS,
    }
    assert made.keys() == expected.keys()
    for signal, early in expected.items():
        assert made[signal].tau == pytest.approx(stats.kendalltau(early, ENDS).statistic)
        assert made[signal].low <= made[signal].tau <= made[signal].high
        assert made[signal].configs == 5
    assert rank_agreements(resolved, replicates(trials[:6])) == [], "three configs are too few"
    on_test = trial("config 1", {0: [0.5]}, Config(data="digits", epochs=6))
    judged_elsewhere = resolved.rows[0].model_copy(update={"key": on_test.key, "config": on_test.config})
    assert rank_agreements(resolved.model_copy(update={"rows": (judged_elsewhere,)}), replicates([on_test])) == []


@pytest.mark.sweeps
@pytest.mark.usefixtures("made_record")
def test_a_calibration_runs_can_be_extended_and_is_reported(sweep: Command, here: Command, tmp_path: Path) -> None:
    small = ("--set", "channels=[4,8]", "--set", "hidden=[32,32]")
    arguments = ("--data", "digits", "--studies", "search", "--epochs", "3", *small)
    first = sweep(*arguments, "--calibrate", "4", *ONE_SLOT)
    assert first.returncode == 0, first.stderr
    plan = json.loads(here(*arguments, "--calibrate", "5", "--dry-run", "--json").stdout)
    assert (plan["distinct"] - plan["recorded"], plan["to_run"]) == (3, 3)
    record = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits")
    report = Path(record.client.download_artifacts(record.sweeps()[-1].run_id, "report"))
    page = (report / "README.md").read_text()
    assert "### Calibration of the search in study search" in page
    assert "| last error of a shorter training | 1 |" in page
    assert "# Table 15" not in page, "its rows are random configs, which no table of errors should list"
    assert (report / "search-calibration.png").exists()
