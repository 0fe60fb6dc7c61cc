"""What a person sees of a sweep: the plan before it, one live display or plain lines while it runs."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.plan import Plan
from trainable.storage import format_seeds

LINE_EVERY_S = 30.0
"""Seconds between progress lines where there is no terminal."""


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42s, 3m 20s, 2h 05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def print_plan(console: Console, plan: Plan, summary: Mapping[str, Any]) -> None:
    """Each distinct config with the rows that it serves and what is left of it, then the forecast."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("config", "key", "rows", "seeds to run", "recorded", "forecast"):
        table.add_column(column, no_wrap=column in ("config", "key"), overflow="fold")
    for config in plan.configs:
        seeds, recorded = (", ".join(map(str, some)) or "-" for some in (config.seeds, config.recorded_seeds))
        forecast = duration(config.forecast_s) if config.seeds else "-"
        table.add_row(config.name, config.key, ", ".join(config.rows), seeds, recorded, forecast)
    if plan.configs:
        console.print(table)
    print_forecast(console, summary)
    data = summary["data"]
    console.print(f"data: {data['name']}, {data['form']}, fingerprint {data['fingerprint']}")


def print_forecast(console: Console, summary: Mapping[str, Any]) -> None:
    """What is to run, for how long, on what and for how much money."""
    asks, search = summary["resources"], summary.get("search")
    memory = f" with {asks['gpu_memory_per_trial']:g} GB" if asks["gpu_memory_per_trial"] else ""
    slots = f"{summary['slots']} slot(s) of {asks['cpus_per_trial']:g} CPU and {asks['gpus_per_trial']:g} GPU{memory}"
    console.print(
        f"{summary['rows']} rows, {summary['distinct']} distinct configs, {summary['recorded']} complete; "
        f"{summary['to_run']} trials to run in about {duration(summary['forecast_s'])} on {slots}, from "
        f"{summary['forecast_basis']}"
    )
    if not asks["gpus_per_trial"]:
        console.print("no GPU is asked for or in sight: trials run on CPUs")
    if surfaces := summary.get("surfaces"):
        console.print(
            f"loss surfaces: {surfaces['to_run']} to compute in about {duration(surfaces['forecast_s'])}; more follow "
            "their trainings"
        )
    if search:
        console.print(
            f"search: {search['samples']} samples, {search['recorded']} recorded, {search['to_run']} to run in about "
            f"{duration(search['forecast_s'])}"
        )
    if "cost" in summary:
        console.print(f"all of it: about {duration(summary['total_s'])} and {summary['cost']:.2f} at the given prices")


class Display:
    """Follows trials: an `Observer`. Use it as a context manager while they run."""

    def __init__(
        self, console: Console, title: str, work: Sequence[tuple[str, float]], trials: int, epochs: int, device: str
    ) -> None:
        """`work` is the key of every planned trial with its forecast in slot seconds, empty where there is no plan;
        `epochs` are those of all trials together, and `device` what it was given to compute on."""
        self._device = device
        self._console, self._title, self._work = console, title, dict(work)
        self._trials, self._epochs_total = trials, epochs
        self._running: dict[str, _Running] = {}
        self._done = self._failed = self._epochs_ended = 0
        self._best: tuple[float, str, str] | None = None
        self._started = self._line_at = time.monotonic()
        self._work_ended = self._work_found = 0.0
        self._work_total = sum(seconds for _, seconds in work) if work else float(trials)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def trial_started(self, trial_id: str, spec: Mapping[str, Any]) -> None:
        """See `Observer`."""
        name = spec["name"] if spec["seeds"] == [0] else f"{spec['name']}, seed {format_seeds(tuple(spec['seeds']))}"
        self._running[trial_id] = _Running(name, spec["config"]["epochs"], self._work.get(spec["key"], 1.0))

    def trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """See `Observer`."""
        running = self._running[trial_id]
        if not running.epoch:
            self._work_found += running.work * (result["epoch"] - 1) / running.epochs
        running.epoch = result["epoch"]
        environment = result.get("environment", {})
        if environment.get("device", self._device) != self._device:
            self._say(f"{running.name} was given a GPU of {environment['host']} that torch cannot use there", "red")
        metric = "val_error" if "val_error" in result else "test_error"
        running.error = result[metric]
        if self._best is None or result[metric] < self._best[0]:
            self._best = (result[metric], running.name, metric)
        if not self._console.is_terminal and time.monotonic() - self._line_at > LINE_EVERY_S:
            self._line_at = time.monotonic()
            self._say(self._summary())

    def trial_ended(self, trial_id: str, outcome: str, error: str) -> None:
        """See `Observer`."""
        running = self._running.pop(trial_id, None)
        if running is None or outcome == "interrupted":
            return
        self._work_ended += running.work
        self._epochs_ended += running.epochs
        if outcome == "failed":
            self._failed += 1
            reason = error.splitlines()[-1] if error else "no reason given"
            self._say(f"{running.name} failed after {running.epoch} epochs: {reason}", style="red")
            return
        self._done += 1
        if not self._console.is_terminal:
            ended = "" if outcome == "complete" else f" ({outcome} at epoch {running.epoch})"
            self._say(f"{self._summary()}: {running.name} ended with error {running.error:.4f}{ended}")

    def _say(self, line: str, style: str | None = None) -> None:
        """One line, however long: a log is searched by lines."""
        self._console.print(Text(line, style=style or ""), soft_wrap=True)

    def _summary(self) -> str:
        epochs = self._epochs_ended + sum(running.epoch for running in self._running.values())
        parts = [
            f"{self._title}: {self._done} of {self._trials} trials",
            f"{len(self._running)} running",
            f"epoch {epochs} of {self._epochs_total}",
        ]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._best:
            parts.append(f"best {self._best[2]} {self._best[0]:.4f} ({self._best[1]})")
        left = self._seconds_left()
        parts.append(
            f"{duration(time.monotonic() - self._started)} gone" + (f", {duration(left)} left" if left else "")
        )
        return ", ".join(parts)

    def _fraction(self) -> float:
        partial = sum(running.work * running.epoch / running.epochs for running in self._running.values())
        return (self._work_ended + partial) / self._work_total if self._work_total else 1.0

    def _seconds_left(self) -> float | None:
        """At the pace so far, without what was found done; the forecasts only weigh the trials against each other."""
        fraction, found = self._fraction(), self._work_found / self._work_total
        gone = time.monotonic() - self._started
        return gone * (1 - fraction) / (fraction - found) if fraction - found > 0.01 else None

    def _render(self) -> RenderableType:
        bar = Table.grid()  # a row of its own: a bar ends no line
        bar.add_row(ProgressBar(total=1.0, completed=min(self._fraction(), 1.0), width=60))
        running = Table.grid(padding=(0, 2))
        for trial in self._running.values():
            error = f"error {trial.error:.4f}" if trial.error is not None else "starting"
            running.add_row(f"  {trial.name}", f"epoch {trial.epoch}/{trial.epochs}", error)
        return Group(Text(self._summary()), bar, running)


class _Running:
    def __init__(self, name: str, epochs: int, work: float) -> None:
        self.name, self.epochs, self.work = name, epochs, work
        self.epoch = 0
        self.error: float | None = None
