"""What the soak counts, and the soak itself, small."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.record.recorded import TrialRecord, per_seed
from benchmarks import machine, reliability
from benchmarks.reliability import State, Tally, main, numbers
from tests.analysis_records import trial
from trainable.config import Config


def trained(seed: int, error: float = 0.5, **changes: object) -> TrialRecord:
    metrics = {per_seed("test_error", seed): error, per_seed("train_loss", seed): 1.0}
    return replace(trial("t", {seed: [error]}, Config(), **changes), metrics=metrics)


def test_what_is_lost_doubled_or_wrong_is_counted_at_its_fault() -> None:
    undisturbed = numbers([trained(0), trained(1), trained(2)])
    before = State.of(numbers([trained(0)]), undisturbed)
    running = trained(2, status="RUNNING")
    after = State.of(numbers([trained(1, 0.25), trained(1), running]), undisturbed)
    tally = Tally()
    tally.add(before, after, total=3)
    assert tally == Tally(tries=1, went_on=0, lost=1, doubled=1, wrong=1)
    end = State.of(numbers([trained(1, 0.25), trained(1), trained(2)]), undisturbed)
    tally.add(after, end, total=3)
    assert tally == Tally(tries=2, went_on=1, lost=1, doubled=1, wrong=1)


@pytest.mark.reliability
@pytest.mark.timeout(1800)
def test_a_soak_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    monkeypatch.setattr(reliability, "PAGE", tmp_path / "page.md")
    main(trials=40, every_s=30, fault_seed=1)
    page = (tmp_path / "page.md").read_text()
    assert "| at the end, of 40 trainings |  |  | 0 | 0 | 0 | |" in page
    row = r"^\| .* \| (\d+) \| \d+ \| 0 \| 0 \| 0 \| (?:\d+%)? \|$"
    tried = [int(tries) for tries in re.findall(row, page, re.MULTILINE)]
    assert len(tried) >= 4 and sum(tried) > 0
