"""The budget of a search: what a text means, and how many slot seconds it buys."""

import pytest

from analysis.prices import Prices
from sweeps.planning.budget import parse_budget
from sweeps.planning.resources import Allocation, Resources

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


def test_no_budget_is_none() -> None:
    assert parse_budget("", PRICES) is None
