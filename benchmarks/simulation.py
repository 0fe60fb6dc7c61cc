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
    first_s: float
    """Until a slot's actor has started."""
    start_s: float
    """More, for each slot that starts before it: actors that start together share the machine."""

    def on_own_machines(self) -> "Costs":
        """The same where every node has cores of its own."""
        return replace(self, start_s=0.0)


def simulate(trials: int, slots: int, seconds: float, reports: int, costs: Costs) -> float:
    """Wall seconds of that many trials of so many seconds and equally spaced reports; the last report ends a trial."""
    driver_free, left = 0.0, trials
    events: list[tuple[float, int, int]] = []  # when, slot, reports that the trial still owes after this one
    step = seconds / reports

    def start(now: float, slot: int, wait: float) -> None:
        nonlocal left
        if left:
            left -= 1
            heapq.heappush(events, (now + wait + step, slot, reports - 1))

    for slot in range(min(slots, trials)):
        start(0.0, slot, costs.first_s + slot * costs.start_s)
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

    The driver's are its processor time. The latency is what remains of the trials on one node, and the start what the
    larger clusters take more.
    """
    single = figures["no_work"][0]
    report_s = figures["report_s"]
    trial_s = single["driver_cpu_s"] / single["trials"] - report_s
    walls: dict[int, list[float]] = {}
    for row in figures["scaled"]:
        walls.setdefault(int(row["slots"]), []).append(row["trials_s"] + row["recorder_rest_s"])
    small, large = min(walls), max(walls)
    each = next(row["trials"] / row["slots"] for row in figures["scaled"])
    latency_s = max(0.0, single["trials_s"] / (single["trials"] / single["slots"]) - small * (trial_s + report_s))
    ideal = each * (figures["trial_s"] + trial_s + report_s + latency_s)
    start_s = max(0.0, (median(walls[large]) - median(walls[small])) / (large - small))
    first_s = max(0.0, median(walls[small]) - ideal - (small - 1) * start_s)
    return Costs(trial_s, report_s, latency_s, first_s, start_s)
