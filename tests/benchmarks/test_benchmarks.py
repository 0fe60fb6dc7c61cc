"""The benchmarks run, small, and their page is what their figures say."""

import csv
import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import machine, performance, reliability, scaling
from benchmarks.peer import Net
from trainable.architecture import parameters
from trainable.config import Config


@pytest.mark.parametrize(
    ("file", "page"),
    [
        (performance.PAGE, performance.page),
        (scaling.PAGE, lambda: scaling.page(machine.load("scaling"))),
        (reliability.PAGE, lambda: reliability.page(machine.load("reliability"))),
    ],
    ids=["performance", "scaling", "reliability"],
)
def test_the_pages_are_generated_from_the_figures(file: Path, page: Callable[[], str]) -> None:
    assert file.read_text(encoding="utf-8") == page()


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a benchmark's module with arguments, in this process. Returns its exit code."""

    def run(module: str, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_module(f"benchmarks.{module}", run_name="__main__")
        return int(end.value.code or 0)

    return run


@pytest.mark.filterwarnings("ignore:'benchmarks:RuntimeWarning")
@pytest.mark.parametrize("option", ["--data", "--device"])
def test_a_data_set_or_a_device_that_is_unknown_is_refused(
    option: str, benchmark: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark("trial", option, "mnist") == 2
    assert f"Invalid value for '{option}'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:'benchmarks:RuntimeWarning")
@pytest.mark.parametrize("module", ["sweep", "trial", "slots", "overhead", "fusion", "precision"])
def test_every_benchmark_says_what_it_measures(
    module: str, benchmark: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark(module, "--help") == 0
    assert f"benchmarks/results/{module}-" in " ".join(capsys.readouterr().out.split())


@pytest.mark.benchmarks
def test_trials_that_only_sleep_are_recorded() -> None:
    from benchmarks.machine import alone

    figures = alone("benchmarks.overhead:run_sleeping", count=2, sleep_s=0.0)
    assert figures["trials"] == 2 and figures["trials_s"] > 0


def test_a_trial_taken_apart_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import trial

    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    trial.main(data="digits", data_dir=None, device="cpu", repeats=1)
    figures = json.loads((tmp_path / "trial-cpu.json").read_text())
    assert set(figures["parts_s"]) == {"data", "forward", "loss and backward", "optimizer", "evaluation"}
    (report,) = re.findall(r"\| making one report for Tune .* \| (\d+) µs \|", performance.page())
    assert int(report) == round(1e6 * figures["tune_result_s"]) > 1
    assert sum(figures["parts_s"].values()) == pytest.approx(figures["epoch_s"]["median"], rel=0.8)
    assert 0 < figures["share_of_floor"] < 1


def test_the_peer_is_the_reports_network() -> None:
    assert sum(parameter.numel() for parameter in Net().parameters()) == parameters(Config()) == 285_162


@pytest.mark.benchmarks
def test_searches_train_the_same_number_of_epochs_and_the_page_says_what_they_found(tmp_path: Path) -> None:
    from benchmarks import search

    search.main("digits", None, epochs=2, budget_epochs=7, repeats=1, without_start_points=False, out=tmp_path)
    rows = list(csv.DictReader((tmp_path / "search.csv").read_text().splitlines()))
    page = (tmp_path / "README.md").read_text()
    assert "| search | 2 epochs | 5 epochs | 7 epochs | trials | complete |" in page
    for arm in search.ARMS:
        own = [row for row in rows if row["arm"] == arm.name]
        assert all(int(row["trained_epochs"]) <= 7 for row in own)
        best = min(float(row["val_error"]) for row in own)
        assert float(own[-1]["best_val_error"]) == best
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {arm.name} |")]
        assert f"{best:.4f} ({best:.4f} to {best:.4f})" in line
    whole = [int(row["trained_epochs"]) for row in rows if row["arm"] == "TPE without stopping"]
    assert whole == [2, 4, 6], "the fourth trial has one epoch left"
    assert (tmp_path / "search.png").stat().st_size


@pytest.mark.benchmarks
def test_a_search_is_the_same_each_time_with_the_same_seed_alone() -> None:
    from benchmarks import search

    class Curves:
        def follow(self, config: Config) -> Iterator[float]:
            return (config.dropout + config.bn_momentum / epoch for epoch in range(1, config.epochs + 1))

    plan = search.plan_search(search.SEARCH, base={"epochs": 8}, samples=1, fingerprint="f", trials=())
    for arm in search.ARMS:
        first, again, other = (search.run(arm, seed, plan, Curves(), 120) for seed in (0, 0, 1))
        assert first == again != other
        assert first.trials == len(first.completed) or arm.stops


@pytest.mark.filterwarnings("ignore:'benchmarks:RuntimeWarning")
def test_a_budget_without_room_for_a_trial_in_each_third_is_refused(
    benchmark: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark("search", "--epochs", "4", "--budget-epochs", "11") == 2
    assert "--budget-epochs 11: must be at least 3 times --epochs 4" in " ".join(capsys.readouterr().err.split())
