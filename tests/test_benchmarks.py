"""The benchmarks run, small, and their page is what their figures say."""

import json
import subprocess
import sys

import pytest

from benchmarks import performance
from benchmarks.peer import Net
from tests.conftest import ROOT
from trainable.architecture import parameters
from trainable.config import Config


def test_the_page_is_generated_from_the_figures() -> None:
    assert performance.PAGE.read_text(encoding="utf-8") == performance.page()


@pytest.mark.parametrize("module", ["sweep", "trial", "slots", "overhead", "fusion", "precision"])
def test_every_benchmark_says_what_it_measures(module: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{module}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert f"benchmarks/results/{module}-" in " ".join(done.stdout.split())


def test_a_trial_taken_apart_adds_up(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import machine, trial

    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    trial.main(data="digits", data_dir=None, batch_norm=False, device="cpu", repeats=1)
    figures = json.loads((tmp_path / "trial-cpu.json").read_text())  # type: ignore[operator]
    assert set(figures["parts_s"]) == {"data", "forward", "backward", "optimizer", "evaluation"}
    assert sum(figures["parts_s"].values()) == pytest.approx(figures["epoch_s"]["median"], rel=0.8)
    assert 0 < figures["share_of_floor"] < 1


def test_the_peer_is_the_reports_network() -> None:
    assert sum(parameter.numel() for parameter in Net().parameters()) == parameters(Config()) == 285_162
