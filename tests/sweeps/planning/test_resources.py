"""What a trial asks for and where it fits, and what it costs."""

import pytest

from analysis.prices import Prices
from benchmarks.simulation import Costs, simulate
from sweeps.planning.rates import cost
from sweeps.planning.resources import Resources, count_slots, trial_resources
from trainable.errors import UsageError

HEAD = Resources(0)
A10G = Resources(4, 1, 24)
FOUR_V100 = Resources(32, 4, 64)


def test_slots_are_counted_node_by_node() -> None:
    assert count_slots([Resources(3), Resources(3)], Resources(2)) == 2  # six cores, but no node has a third pair
    assert count_slots([HEAD, A10G, FOUR_V100], Resources(1, 0.25, 4)) == 4 + 16
    assert count_slots([HEAD, A10G, FOUR_V100], Resources(1, 1, 20)) == 1 + 3


@pytest.mark.parametrize(("share", "slots"), [(0.6, 8), (0.4, 16), (0.1, 64), (1, 8), (2, 4)])
def test_a_share_of_a_gpu_lies_on_one_gpu(share: float, slots: int) -> None:
    """The node has 64 cores."""
    assert Resources(64, 8).slots(Resources(1, share)) == slots


def test_a_share_of_a_gpu_is_the_default_where_there_is_any() -> None:
    assert trial_resources([HEAD, A10G], Resources(1), default_gpus=True) == Resources(1, 0.25)
    assert trial_resources([Resources(4)], Resources(1), default_gpus=True) == Resources(1)


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        (Resources(64), "--cpus-per-trial 64: the largest node has 32"),
        (Resources(1, 8), "--gpus-per-trial 8: the largest node has 4"),
        (Resources(1, 1, 80), "--gpu-memory-per-trial 80: the largest node has 64"),
        (
            Resources(1, 0.25, 8),
            "--gpus-per-trial 0.25: 8 GB are 50% of one GPU of a node with 4 of them",
        ),
    ],
)
def test_what_fits_nowhere_is_refused(asks: Resources, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        trial_resources([HEAD, A10G, FOUR_V100], asks, default_gpus=False)


def test_a_cluster_that_grows_may_have_nothing_yet() -> None:
    asks = Resources(1, 1, 24)
    assert trial_resources([HEAD], asks, default_gpus=False, grows=True) == asks
    assert trial_resources([HEAD, A10G], Resources(1), default_gpus=True, grows=True) == Resources(1, 0.25)
    with pytest.raises(UsageError, match="no node has a GPU now"):  # billed for GPUs that nothing uses
        trial_resources([HEAD], Resources(1), default_gpus=True, grows=True)


def test_money_is_the_slots_time_and_the_heads() -> None:
    prices = Prices(gpu=2.0, cpu=0.1, head=0.5)
    assert cost(prices, Resources(1, 0.25), slot_s=8 * 3600, wall_s=2 * 3600) == pytest.approx(8 * 0.25 * 2 + 2 * 0.5)
    assert cost(prices, Resources(2), slot_s=3600, wall_s=0) == pytest.approx(0.2)


def test_a_simulated_sweep_is_the_slots_time_until_the_driver_is_the_limit() -> None:
    free = Costs(trial_s=0, report_s=0, latency_s=0, start_s=0)
    assert simulate(100, 10, 6.0, 3, free) == pytest.approx(60)
    assert simulate(95, 10, 6.0, 1, free) == pytest.approx(60)
    starting = Costs(trial_s=0, report_s=0, latency_s=0, start_s=2)
    assert simulate(4, 4, 6.0, 1, starting) == pytest.approx(2 + 6)
    assert simulate(4, 4, 6.0, 1, starting, one_machine=True) == pytest.approx(4 * 2 + 6)
    recorded = Costs(trial_s=0, report_s=0, latency_s=0, start_s=0, recorded_s=0.5)
    assert simulate(100, 10, 1.0, 1, recorded) == pytest.approx(1 + 100 * 0.5)
    assert simulate(100, 10, 1.0, 1, recorded, recorders=50) == pytest.approx(10 + 0.5)
    busy = Costs(trial_s=0.5, report_s=0.1, latency_s=0, start_s=0)
    assert simulate(1000, 1000, 1.0, 1, busy) == pytest.approx(1 + 1000 * 0.6)
    assert simulate(10, 1, 1.0, 1, busy) == pytest.approx(10 * 1.6)
