"""The sections of the live page that no report has: how far a sweep is, what runs, and each table so far."""

from pathlib import Path

from analysis.costs import Outcome
from analysis.live.progress import RowProgress, RunningTrial, SweepProgress, TableProgress
from analysis.plots.search_progress import draw_best_so_far, draw_learning_curves
from analysis.record.recorded import VAL_ERROR, RunStatus
from analysis.report_data import ReportData
from analysis.searches import RecordedSearch
from analysis.statistics.intervals import mean_text, seeds_text
from analysis.tables import HELD_OUT
from analysis.writing.page import Block, Grid, Picture, Section, Text
from analysis.writing.words import counted, duration
from trainable.errors import last_error

ENDED = {
    RunStatus.FINISHED: "The sweep has ended, and the record has all of it.",
    RunStatus.FAILED: "The sweep has ended, and something failed. Run the same command again: it does what is missing.",
    RunStatus.KILLED: "The sweep was interrupted. Run the same command again to go on.",
}
SILENT = (
    "The sweep's driver has given no sign for minutes: it is dead, or cut off from the record. If it is dead, run the "
    "same command again to go on."
)
PEEKING = (
    "Rows that still train can change what the tests say. A sweep that is stopped as soon as a result looks good finds "
    "effects that are not there more often than 5% of the time."
)


def summary(progress: SweepProgress, *, silent: bool) -> Section:
    """Whether the sweep runs, what it has done and how long the rest takes. `silent` says that its driver has given no
    sign for long."""
    blocks: list[Block] = [Text(_state(progress, silent=silent))]
    if progress.tables:
        blocks.append(Text(_tables_text(progress), lead="Tables"))
    blocks += [Text(_search_text(recorded), lead=recorded.search.title) for recorded in progress.searches]
    if progress.running:
        blocks.append(Grid(("running", "epoch", "held-out error"), [_running(each) for each in progress.running]))
    if progress.failed:
        rows = [(each.name, seeds_text(each.seeds), last_error(each.tags.get("error", ""))) for each in progress.failed]
        blocks.append(Grid(("failed", "seeds", "why"), rows))
    return Section(progress.sweep.name, blocks)


def tables(progress: SweepProgress, data: ReportData) -> Section:
    """Each table so far, row by row."""
    return Section("Tables", [Text(PEEKING)], [_table(each, data) for each in progress.tables])


def searches(progress: SweepProgress, folder: Path) -> Section:
    """How each search goes, as pictures in that folder."""
    return Section("Search", [], [_search(recorded, folder) for recorded in progress.searches])


def _state(progress: SweepProgress, *, silent: bool) -> str:
    if ended := ENDED.get(progress.sweep.status):
        return ended
    if silent:
        return SILENT
    outcomes = progress.outcomes
    parts = [
        f"{counted(len(progress.running), 'trial')} running",
        f"{outcomes[Outcome.COMPLETE]} complete",
        *([f"{outcomes[Outcome.STOPPED]} stopped early by the search"] if outcomes[Outcome.STOPPED] else []),
        f"{len(progress.failed) or 'none'} failed",
    ]
    return f"The sweep has run for {duration(progress.elapsed_s)}: {', '.join(parts)}."


def _tables_text(progress: SweepProgress) -> str:
    trained, missing = len(progress.trained), len(progress.missing)
    text = f"{trained} of {counted(trained + missing, 'training')} are recorded."
    if not missing or progress.sweep.status != RunStatus.RUNNING:
        return text
    left = progress.seconds_left
    return f"{text} At the pace so far the others take {duration(left)}." if left is not None else text


def _search_text(recorded: RecordedSearch) -> str:
    search, stopped = recorded.search, len(recorded.own) - len(recorded.complete)
    text = (
        f"{counted(len(recorded.own) + len(recorded.running), 'configuration')} tried, of {search.samples} at most: "
        f"{len(recorded.complete)} to the last epoch, {stopped} stopped early, {len(recorded.running)} running."
    )
    if best := recorded.best:
        text += f" The lowest validation error is {best.metrics[VAL_ERROR]:.4f} ({best.name})."
    if (reference := recorded.reference) and reference.complete:
        text += f" The configuration that it is compared with has {reference.metrics[VAL_ERROR]:.4f}."
    return text


def _search(recorded: RecordedSearch, folder: Path) -> Section:
    blocks: list[Block] = []
    if recorded.own or recorded.running:
        curves = draw_learning_curves(recorded, folder / f"{recorded.search.study}-curves.png")
        blocks.append(Picture(curves, "The validation error of each trial by epoch."))
    if recorded.complete:
        best = draw_best_so_far(recorded, folder / f"{recorded.search.study}-best.png")
        blocks.append(Picture(best, "The best validation error so far by the training time spent."))
    return Section(recorded.search.title, blocks or [Text("No trial has begun.")])


def _running(each: RunningTrial) -> tuple[str, str, str]:
    error = "-" if each.error is None else f"{each.error:.4f}"
    return each.name, f"{each.epoch} of {each.trial.config.epochs}", error


def _table(progress: TableProgress, data: ReportData) -> Section:
    held_out = HELD_OUT[progress.table.rows[0].config.held_out]
    header = ("", "seeds recorded", f"{held_out}, last epoch", "running")
    return Section(progress.table.heading, [Grid(header, [_row(row, data) for row in progress.rows])])


def _row(progress: RowProgress, data: ReportData) -> tuple[str, str, str, str]:
    trained = data.trainings.get(progress.row.key)
    finals = trained.last_errors() if trained else {}
    errors = mean_text([error for seed, error in finals.items() if seed in progress.trained])
    asked = len(progress.trained) + len(progress.missing)
    running = ", ".join(f"seed {seeds_text(each.trial.seeds)} at epoch {each.epoch}" for each in progress.running)
    return progress.row.name, f"{len(progress.trained)} of {asked}", errors, running or "-"
