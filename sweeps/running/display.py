"""What a person sees of a sweep while it runs: one live display, or plain lines where there is no terminal."""

import time
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analysis.statistics.intervals import with_seeds
from analysis.writing.words import duration
from sweeps.fault import Fault
from sweeps.observer import Observer
from trainable.config import Config
from trainable.trial import TrialEnd, TrialReport, TrialSpec

LINE_EVERY_S = 30.0
"""Seconds between progress lines where there is no terminal."""


LINES_BESIDE = 6
"""Lines of the display besides those of running trials: the summary, which a narrow terminal breaks, the bar, and how
many trials are not shown."""


class Display(Observer):
    """Shows the progress of trials. Use it as a context manager while they run."""

    def __init__(
        self,
        console: Console,
        title: str,
        *,
        trials: int,
        epochs: int,
        trial_s: Mapping[str, float] | None = None,
        total_s: float | None = None,
    ) -> None:
        """`epochs` are those of all trials together. `trial_s` is the forecast of one trial in slot seconds by its key,
        `total_s` that of all trials; without them all weigh the same."""
        self._console, self._title = console, title
        self._trial_s = trial_s or {}
        self._trials, self._epochs_total = trials, epochs
        self._running: dict[str, _Running] = {}
        self._done = self._failed = self._epochs_ended = 0
        self._best: dict[str, tuple[float, str]] = {}
        """By metric, the lowest error and whose it is."""
        self._started = self._line_at = time.monotonic()
        self._work_ended = self._work_resumed = 0.0
        self._work_total = float(trials) if total_s is None else total_s
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Display":
        if self._console.is_interactive:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_interactive:
            self._live.stop()

    def trial_started(self, trial_id: str, spec: TrialSpec) -> None:
        """See `Observer`."""
        running = _Running(with_seeds(spec.name, spec.seeds), spec.config, self._trial_s.get(spec.key, 1.0))
        self._running.setdefault(trial_id, running)  # it is there where an actor was restarted

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        """See `Observer`."""
        running, last = self._running[trial_id], report.last
        if not running.epoch:
            self._work_resumed += running.work * report.resumed / running.epochs
        running.epoch, running.heard_at = last.number, time.monotonic()
        for warning in report.warnings:
            self._say(f"{running.name}: {warning}", "yellow")
        running.error = last.mean(running.metric)
        if running.metric not in self._best or running.error < self._best[running.metric][0]:
            self._best[running.metric] = running.error, running.name
        if not self._console.is_interactive and time.monotonic() - self._line_at > LINE_EVERY_S:
            self._line_at = time.monotonic()
            self._say(self._summary())

    def trial_retried(self, trial_id: str, fault: Fault) -> None:
        """See `Observer`."""
        if running := self._running.get(trial_id):
            reason = fault.reason.split(". ")[0]  # Ray's goes on with all that it could be
            silence = duration(time.monotonic() - running.heard_at)
            self._say(f"{running.name} is tried again, {silence} after its last sign: {reason}", "yellow")

    def trial_ended(self, trial_id: str, end: TrialEnd, fault: Fault) -> None:
        """See `Observer`."""
        running = self._running.pop(trial_id, None)
        if running is None or end == TrialEnd.INTERRUPTED:
            return
        self._work_ended += running.work
        self._epochs_ended += running.epochs
        if end == TrialEnd.FAILED:
            self._failed += 1
            self._say(f"{running.name} failed after {running.epoch} epochs: {fault.reason}", style="red")
            return
        self._done += 1
        if not self._console.is_interactive:
            ended = "" if end == TrialEnd.COMPLETE else f" ({end} at epoch {running.epoch})"
            self._say(f"{self._summary()}: {running.name} finished with {running.metric} {running.error:.4f}{ended}")

    def _say(self, line: str, style: str | None = None) -> None:
        """One line, however long: a log is searched by lines."""
        self._console.print(Text(line, style=style or ""), soft_wrap=True)

    def _summary(self) -> str:
        epochs = self._epochs_ended + sum(running.epoch for running in self._shown)
        parts = [
            f"{self._title}: {self._done} of {self._trials} trials",
            f"{len(self._running)} running",
            f"epoch {epochs} of {self._epochs_total}",
        ]
        if self._failed:
            parts.append(f"{self._failed} failed")
        parts += [f"best {metric} {error:.4f} ({name})" for metric, (error, name) in self._best.items()]
        left = self._seconds_left()
        parts.append(
            f"{duration(time.monotonic() - self._started)} gone" + (f", {duration(left)} left" if left else "")
        )
        return ", ".join(parts)

    @property
    def _shown(self) -> list["_Running"]:
        """The running trials, in a list of its own: the display draws in a thread while trials start and end."""
        return list(self._running.values())

    def _fraction(self) -> float:
        partial = sum(running.work * running.epoch / running.epochs for running in self._shown)
        return (self._work_ended + partial) / self._work_total if self._work_total else 1.0

    def _seconds_left(self) -> float | None:
        """At the pace so far, without what an earlier process had done of resumed trials. The forecasts only weigh the
        trials against each other."""
        fraction = self._fraction()
        resumed = self._work_resumed / self._work_total if self._work_total else 0.0
        gone = time.monotonic() - self._started
        return gone * (1 - fraction) / (fraction - resumed) if fraction - resumed > 0.01 else None

    def _render(self) -> RenderableType:
        bar = Table.grid()  # a row of its own: a bar ends no line
        bar.add_row(ProgressBar(total=1.0, completed=min(self._fraction(), 1.0), width=60))
        running, rows = Table.grid(padding=(0, 2)), max(1, self._console.height - LINES_BESIDE)
        shown = self._shown
        for trial in shown[:rows]:
            error = f"error {trial.error:.4f}" if trial.error is not None else "starting"
            running.add_row(f"  {trial.name}", f"epoch {trial.epoch}/{trial.epochs}", error)
        more = [Text(f"  and {len(shown) - rows} more")] if len(shown) > rows else []
        return Group(Text(self._summary()), bar, running, *more)


class _Running:
    """A trial that runs, as the display shows it."""

    def __init__(self, name: str, config: Config, work: float) -> None:
        self.name, self.epochs, self.metric, self.work = name, config.epochs, config.held_out, work
        self.epoch, self.heard_at = 0, time.monotonic()
        self.error: float | None = None
