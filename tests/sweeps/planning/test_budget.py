"""The budget of a search: what a text means, how many slot seconds it buys, and when it is spent."""

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from analysis.prices import Prices
from analysis.record.mlflow_record import Record
from analysis.record.recorded import TRAINING_S, RunStatus
from sweeps.planning.allocate import allocate_dry
from sweeps.planning.budget import parse_budget
from sweeps.planning.forecast import make_forecast
from sweeps.planning.prepare import prepare
from sweeps.planning.resources import Allocation, Resources
from sweeps.planning.show import print_forecast
from sweeps.planning.sweep_plan import plan_sweep
from sweeps.recording import trial_runs
from sweeps.running.sweep import run
from tests.options import options
from trainable.errors import UsageError

PRICES = Prices(gpu=2.0, cpu=0.5, head=1.0)


@pytest.mark.parametrize(
    ("text", "slot_s"),
    [
        ("2h", 4 * 7200),
        ("90m", 4 * 5400),
        ("1h30m15s", 4 * 5415),
        ("1.5h", 4 * 5400),
        ("12.5", 4 * 3600 * 12.5 / (4 * 0.5 * 2.0 + 1.0)),  # an hour of four half GPUs and of the head costs 5
        ("1h,100", 4 * 3600),
        ("100h, 5", 4 * 3600),
    ],
)
def test_a_budget_buys_the_time_of_all_slots(text: str, slot_s: float) -> None:
    """Of time and money what is spent first counts."""
    budget = parse_budget(text, PRICES)
    assert budget is not None
    assert budget.slot_s(PRICES, Allocation(Resources(cpus=1, gpus=0.5), slots=4)) == pytest.approx(slot_s)


@pytest.mark.parametrize("prices", [Prices(head=1.0), Prices(cpu=0.5, head=1.0)])
def test_money_without_the_price_of_a_slot_is_refused(prices: Prices) -> None:
    """The head's price alone would buy far too much."""
    budget = parse_budget("12.5", prices)
    assert budget is not None
    with pytest.raises(UsageError, match="money needs the price of what the trials run on; --prices has only "):
        budget.slot_s(prices, Allocation(Resources(cpus=1, gpus=0.5), slots=4))


def test_a_plan_for_a_cluster_that_was_not_asked_says_that_it_is_for_one_slot(capsys: pytest.CaptureFixture) -> None:
    prepared = prepare(options(data="digits", epochs=1, seeds=1, address="auto", studies="tables"), dry=True)
    for slots, assumed in ((None, True), (8, False)):
        chosen = replace(prepared, options=prepared.options.model_copy(update={"slots": slots}))
        allocation = allocate_dry(chosen)
        forecast = make_forecast(chosen, plan_sweep(chosen, allocation), allocation)
        print_forecast(Console(width=300), forecast)
        said = "the cluster was not asked how many slots it has: times are for one" in capsys.readouterr().out
        assert (forecast.slots, said) == (1 if assumed else 8, assumed)


def test_no_budget_is_none() -> None:
    assert parse_budget("", PRICES) is None


@pytest.mark.reliability
@pytest.mark.usefixtures("made_record")
def test_a_search_goes_on_where_the_record_counts_less_time_than_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does after a worker died: the record has each epoch once."""
    recorded_s, summarise = iter([0.0]), trial_runs.summarise

    def summarise_less(epochs: list) -> dict[str, float]:
        summary = summarise(epochs)
        if "val_error" in epochs[0].metrics:
            summary[TRAINING_S] = next(recorded_s, summary[TRAINING_S])
        return summary

    monkeypatch.setattr(trial_runs, "summarise", summarise_less)
    (tmp_path / "s.yaml").write_text(
        "search:\n  space: {lr: {low: 1e-4, high: 1e-2, log: true}}\n  race: {candidates: 1, first_test: 2, seeds: 2}\n"
    )
    asked = options(
        study=tmp_path / "s.yaml", budget="0.01s", epochs=1, proof_seeds=1, cpus_per_trial=float(os.cpu_count() or 1),
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", storage_path=str(tmp_path / "storage"), experiment="e",
    )  # fmt: skip
    result = run(prepare(asked, dry=False), Console(file=io.StringIO()))
    assert result.status == RunStatus.FINISHED
    trials = Record(asked.tracking_uri, "e").trials()
    searched = [trial for trial in trials if trial.tags["study"] == "s" and trial.seeds == (0,)]
    assert sorted(trial.metrics[TRAINING_S] > 0 for trial in searched) == [False, True]
