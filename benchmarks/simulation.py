"""A sweep as a discrete-event simulation: slots that train, and one driver that serves them in turn."""

import heapq
from dataclasses import dataclass, replace
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Costs:
    """Seconds."""

    trial_s: float
    """Of the driver, for a trial's start and end."""
    report_s: float
    """Of the driver, for a report."""
    latency_s: float
    """From a trial's end to the next one on its slot, beside the driver's work."""
    start_s: float
    """Until a slot's actor has started."""


def simulate(trials: int, slots: int, seconds: float, reports: int, costs: Costs, one_machine: bool = False) -> float:
    """Wall seconds of that many trials of so many seconds and equally spaced reports; the last report ends a trial.

    On `one_machine` the slots' actors start one after another, elsewhere each on a node of its own.
    """
    driver_free, left = 0.0, trials
    events: list[tuple[float, int, int]] = []  # when, slot, reports that the trial still owes after this one
    step = seconds / reports

    def start(now: float, slot: int, wait: float) -> None:
        nonlocal left
        if left:
            left -= 1
            heapq.heappush(events, (now + wait + step, slot, reports - 1))

    for slot in range(min(slots, trials)):
        start(0.0, slot, costs.start_s * (slot + 1 if one_machine else 1))
    while events:
        now, slot, owed = heapq.heappop(events)
        driver_free = max(driver_free, now) + costs.report_s + (0.0 if owed else costs.trial_s)
        if owed:
            heapq.heappush(events, (driver_free + step, slot, owed - 1))  # a trainable's next step waits for the driver
        else:
            start(driver_free, slot, costs.latency_s)
    return driver_free


def fit(figures: dict[str, Any]) -> Costs:
    """Costs from `benchmarks.scaling`'s measurements.

    The driver's are its processor time, the latency is what remains of trials of no work, and the start is that with
    which the simulation takes as long as the largest cluster did; the smaller ones are left as a check.
    """
    single = figures["no_work"][0]
    report_s = figures["report_s"]
    trial_s = single["driver_cpu_s"] / single["trials"] - report_s
    walls: dict[int, list[float]] = {}
    for row in figures["scaled"]:
        walls.setdefault(int(row["slots"]), []).append(row["trials_s"] + row["recorder_rest_s"])
    large = max(walls)
    each = next(int(row["trials"] / row["slots"]) for row in figures["scaled"])
    idle_s = single["trials_s"] * single["slots"] / single["trials"]
    costs = Costs(trial_s, report_s, max(0.0, idle_s - single["slots"] * (trial_s + report_s)), 0.0)
    low, high = 0.0, 100.0
    for _ in range(40):
        costs = replace(costs, start_s=(low + high) / 2)
        short = simulate(each * large, large, figures["trial_s"], 1, costs, one_machine=True) < median(walls[large])
        low, high = (costs.start_s, high) if short else (low, costs.start_s)
    return costs
