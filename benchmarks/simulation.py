"""A discrete-event simulation of a sweep: slots that train, one driver that serves them in turn, and the processes of
its recorder, which nobody waits for before the end."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

EPOCHS = 20
"""Epochs of the trials that the costs of reports and of the recorder are measured with: each epoch is a report."""


@dataclass(frozen=True)
class Costs:
    """What the simulated steps cost, in seconds."""

    trial_s: float
    """The driver's work for a trial's start and end."""
    report_s: float
    """The driver's work for a report."""
    latency_s: float
    """The time from a trial's end to the start of the next one on its slot, without the driver's work."""
    start_s: float
    """The time that a slot's actor takes to start."""
    recorded_s: float = 0.0
    """The work of a process of the recorder for a trial with all its reports."""


def simulate(
    trials: int, slots: int, seconds: float, reports: int, costs: Costs, one_machine: bool = False, recorders: int = 1
) -> float:
    """Wall seconds of a sweep until its last trial is recorded.

    Each of the `trials` takes `seconds` and makes equally spaced `reports`, of which the last one ends it. With
    `one_machine` the slots' actors start one after another, otherwise all at once.
    """
    driver_free_at, remaining, ended = 0.0, trials, 0
    recorders_free_at = [0.0] * recorders
    events: list[tuple[float, int, int]] = []  # time of a report, its slot, reports of its trial that follow
    interval = seconds / reports

    def start(now: float, slot: int, wait: float) -> None:
        nonlocal remaining
        if remaining:
            remaining -= 1
            heapq.heappush(events, (now + wait + interval, slot, reports - 1))

    for slot in range(min(slots, trials)):
        start(0.0, slot, costs.start_s * (slot + 1 if one_machine else 1))
    while events:
        now, slot, reports_left = heapq.heappop(events)
        driver_free_at = max(driver_free_at, now) + costs.report_s + (0.0 if reports_left else costs.trial_s)
        if reports_left:  # the trainable's next step waits for the driver
            heapq.heappush(events, (driver_free_at + interval, slot, reports_left - 1))
        else:
            recorder = ended % recorders
            recorders_free_at[recorder] = max(recorders_free_at[recorder], driver_free_at) + costs.recorded_s
            ended += 1
            start(driver_free_at, slot, costs.latency_s)
    return max(driver_free_at, *recorders_free_at)


def wall_s(row: Mapping[str, float]) -> float:
    """Seconds from handing the first trial to Tune to the last recorded result, of a `benchmarks.timed.Timed`."""
    return row["trials_s"] + row["recorder_rest_s"]


def fit(figures: dict[str, Any]) -> Costs:
    """Costs from `benchmarks.scaling`'s measurements.

    The driver's costs are its processor time where the recorder has a process of its own: what more trials of no work
    take, and more reports. The latency is the rest of the time that more trials of no work take. The start is found by
    bisection, so that the simulation takes as long as the largest cluster did; the smaller ones check it.
    """
    few, many, reporting = (figures["no_work"][name] for name in ("few", "many", "reporting"))
    more = many["trials"] - few["trials"]
    report_s = (reporting["driver_cpu_s"] - few["driver_cpu_s"]) / (few["trials"] * (reporting["epochs"] - 1))
    trial_s = (many["driver_cpu_s"] - few["driver_cpu_s"]) / more - report_s
    walls: dict[int, list[float]] = {}
    for row in figures["scaled"]:
        walls.setdefault(int(row["slots"]), []).append(wall_s(row))
    most_slots = max(walls)
    trials_a_slot = next(int(row["trials"] / row["slots"]) for row in figures["scaled"])
    on_slot_s = (many["trials_s"] - few["trials_s"]) * few["slots"] / more
    latency_s = max(0.0, on_slot_s - few["slots"] * (trial_s + report_s))
    costs = Costs(trial_s, report_s, latency_s, start_s=0.0, recorded_s=figures["recorders"]["1"])
    low, high = 0.0, 100.0
    for _ in range(40):
        costs = replace(costs, start_s=(low + high) / 2)
        wall = simulate(trials_a_slot * most_slots, most_slots, figures["trial_s"], 1, costs, one_machine=True)
        too_short = wall < median(walls[most_slots])
        low, high = (costs.start_s, high) if too_short else (low, costs.start_s)
    return costs
