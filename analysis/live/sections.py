"""The sections of the live page."""

import time
from pathlib import Path

from analysis.costs import Outcome
from analysis.live.progress import RowProgress, RunningTrial, SweepProgress, TableProgress
from analysis.record.recorded import VAL_ERROR, RunStatus
from analysis.record.trial_errors import ERRORS, last_error
from analysis.report_data import ReportData
from analysis.searches import RecordedSearch, val_errors
from analysis.statistics.cells import cell_of
from analysis.statistics.intervals import seeds_text
from analysis.tables import HELD_OUT
from analysis.writing.effect_rows import HEADER, effect_rows
from analysis.writing.page import Block, Grid, Section, Text
from analysis.writing.shared_pictures import best_so_far, effects_picture, learning_curves
from analysis.writing.words import counted, duration, listed

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
    "While seeds are still to train, a verdict can change. Whoever stops a sweep as soon as a verdict pleases finds "
    "effects that are not there more often than the tests promise."
)
NEXT = "After that the best configurations race over further seeds, and the winner is trained for its proof."


def summary(progress: SweepProgress, *, silent: bool, others: list[str]) -> Section:
    """Whether the sweep runs, what it has done and how long the rest takes. `silent` says that its driver has given no
    sign for long. `others` are the names of other sweeps that run on the same record."""
    live = progress.sweep.status == RunStatus.RUNNING and not silent
    blocks: list[Block] = [Text(f"As of {time.strftime('%H:%M:%S')}. {_state(progress, silent=silent)}")]
    if progress.tables:
        blocks.append(Text(_tables_text(progress, live=live), lead="Tables"))
    blocks += [Text(_search_text(recorded, live=live), lead=recorded.search.title) for recorded in progress.searches]
    if others:
        blocks.append(Text(f"At work on the same record, and not counted here: {listed(others)}."))
    if progress.running and live:
        blocks.append(Grid(("running", "epoch", "held-out error"), [_running(each) for each in progress.running]))
    if progress.failed:
        rows = [(each.name, seeds_text(each.seeds), last_error(each.tags.get(ERRORS, ""))) for each in progress.failed]
        blocks.append(Grid(("failed", "seeds", "why"), rows))
    return Section(progress.sweep.name, blocks)


def tables(progress: SweepProgress, data: ReportData) -> Section:
    """Each table so far, row by row."""
    return Section("Tables", [], [_table(each, data) for each in progress.tables])


def effects(data: ReportData) -> Section:
    """The effects of the rows that are recorded so far."""
    picture = effects_picture(data.effects, data.data_set, data.folder)
    return Section("Effects of the changes", [Text(PEEKING), picture, Grid(HEADER, effect_rows(data.effects))])


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
        f"{outcomes[Outcome.FAILED] or 'none'} failed",
    ]
    return f"The sweep has run for {duration(progress.elapsed_s)}: {', '.join(parts)}."


def _tables_text(progress: SweepProgress, *, live: bool) -> str:
    trained, missing = len(progress.trained), len(progress.missing)
    text = f"{trained} of {counted(trained + missing, 'training')} are recorded."
    left = progress.seconds_left if live else None
    return f"{text} At the pace so far the others take {duration(left)}." if left else text


def _search_text(recorded: RecordedSearch, *, live: bool) -> str:
    samples, stopped = recorded.search.samples, len(recorded.own) - len(recorded.complete)
    if not (tried := len(recorded.own) + len(recorded.running)):
        return f"Not begun: {counted(samples, 'configuration')} at most. {NEXT}"
    text = (
        f"{counted(tried, 'configuration')} tried{f', of {samples} at most' if tried <= samples else ''}: "
        f"{len(recorded.complete)} to the last epoch, {stopped} stopped early, {len(recorded.running)} running."
    )
    if best := recorded.best:
        text += f" The lowest validation error is {best.metrics[VAL_ERROR]:.4f} ({best.name})."
    if (point := recorded.marked_start_point) and point.complete:
        text += f" That of the start point {point.name}, for comparison, is {point.metrics[VAL_ERROR]:.4f}."
    return f"{text} {NEXT}" if live and not recorded.race_winner else text


def _search(recorded: RecordedSearch, folder: Path) -> Section:
    blocks: list[Block] = []
    if any(map(val_errors, (*recorded.own, *recorded.running))):
        blocks.append(learning_curves(recorded, folder))
    if recorded.complete:
        blocks.append(best_so_far(recorded, folder))
    return Section(recorded.search.title, blocks or [Text("No trial has an epoch yet.")])


def _running(each: RunningTrial) -> tuple[str, str, str]:
    error = "-" if each.error is None else f"{each.error:.4f}"
    return each.name, f"{each.epoch} of {each.trial.config.epochs}", error


def _table(progress: TableProgress, data: ReportData) -> Section:
    table = progress.table
    header = ["", "seeds", "running"]
    rows = [[row.row.name, _seeds(row), _epochs(row)] for row in progress.rows]
    if table.measure.errors_shown:
        held_out = table.rows[0].config.held_out
        header.append(f"{HELD_OUT[held_out]}, last epoch")
        for texts, row in zip(rows, table.rows, strict=True):
            trained = data.trainings.get(row.key)
            cell = cell_of(trained.by_seed(held_out), row.config.chance) if trained else None
            texts.append(cell.as_text(cell.finals) if cell else "-")
    return Section(table.heading, [Grid(header, rows)])


def _seeds(progress: RowProgress) -> str:
    trained = len(progress.trained)
    return f"{trained} of {trained + len(progress.missing)}"


def _epochs(progress: RowProgress) -> str:
    running = [f"seed {seeds_text(each.trial.seeds)} at epoch {each.epoch}" for each in progress.running]
    return ", ".join(running) or "-"
