"""What the results took: time, money, memory and processor by table."""

from collections.abc import Callable

from analysis.costs import Outcome, Spent, spent
from analysis.report_data import ReportData
from analysis.writing.csv_file import write_csv
from analysis.writing.page import Absent, Grid, Section, Text

TITLE = "What it took"
ABOUT = (
    "Hours are those of a slot, which trains one trial at a time; starting and waiting are not in them. Every trial "
    "counts, also one that the search stopped, that failed or that was interrupted. Epochs that a trial took over from "
    "a checkpoint count once. A training that several tables share counts in the first of them."
)
LOST = "Lost hours are those of failed and interrupted trials from which no finished trial went on."
MONEY = "Money counts each slot at the given prices, with its part of the head as while all slots are at work."
USAGE = (
    "Memory is the most that a trial held, on its GPU where it has one. The processor's share is 1 for one core that "
    "is always busy. Both are missing for trials of versions that did not measure them."
)
NUMBERS = (
    "part", "trials", *Outcome, "epochs", "hours", "lost hours", "money", "peak memory, MiB", "processor's share",
)  # fmt: skip


def section(data: ReportData) -> Section | Absent:
    """A row for each table and for each study outside the tables, and their sum."""
    parts = spent(data.tables, data.all_trials, data.sweeps, data.prices)
    if not parts:
        return Absent(TITLE, "no trial is recorded")
    write_csv(data.folder / "costs.csv", NUMBERS, [_numbers(part, bool(data.prices)) for part in parts])
    columns: dict[str, Callable[[Spent], str]] = {
        "": lambda part: part.what,
        "trials": _trials,
        "epochs": lambda part: f"{part.epochs:,}",
        "slot hours": lambda part: f"{part.seconds / 3600:.2f}",
    }
    said = [ABOUT]
    if any(part.lost_s for part in parts):
        columns["lost hours"] = lambda part: f"{part.lost_s / 3600:.2f}"
        said.append(LOST)
    if data.prices:
        columns["money"] = lambda part: "-" if part.money is None else f"{part.money:.2f}"
        said.append(MONEY)
    if any(part.peak_memory_mb for part in parts):
        columns["peak memory, MiB"] = lambda part: _number(part.peak_memory_mb, ",.0f")
        columns["processor's share"] = lambda part: _number(part.cpu_share, ".2f")
        said.append(USAGE)
    rows = [[cell(part) for cell in columns.values()] for part in [*parts, _sum(parts)]]
    return Section(TITLE, [Text(" ".join(said)), Grid(tuple(columns), rows)])


def _sum(parts: list[Spent]) -> Spent:
    money = [part.money for part in parts if part.money is not None]
    return Spent(
        "all",
        tuple(trial for part in parts for trial in part.trials),
        sum(part.epochs for part in parts),
        sum(part.seconds for part in parts),
        sum(part.lost_s for part in parts),
        sum(money) if len(money) == len(parts) else None,
    )


def _trials(part: Spent) -> str:
    """The number of trials; where not all are complete, how many ended how."""
    outcomes = part.outcomes
    if set(outcomes) == {Outcome.COMPLETE}:
        return str(len(part.trials))
    return f"{len(part.trials)}: " + ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))


def _number(value: float | None, digits: str) -> str:
    return "-" if value is None else f"{value:{digits}}"


def _numbers(part: Spent, priced: bool) -> tuple:
    outcomes = (part.outcomes[each] for each in Outcome)
    hours = (part.seconds / 3600, part.lost_s / 3600)
    money = part.money if priced else None
    return (part.what, len(part.trials), *outcomes, part.epochs, *hours, money, part.peak_memory_mb, part.cpu_share)
