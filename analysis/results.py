"""The results page: the report's tables beside what was reproduced, from an exported record alone.

python -m analysis.results docs/record docs/results.md
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from analysis.figures import draw_tables
from analysis.folder import read_folder
from analysis.record import SweepRecord, TrialRecord
from analysis.tables import ReproducedRow, ReproducedTable, reproduce, verdict
from trainable.study import PlacedTable

FIGURE = "results.png"


def results_page(sweeps: Sequence[SweepRecord], trials: Sequence[TrialRecord]) -> tuple[str, list[ReproducedTable]]:
    """The page as Markdown, and the tables it shows."""
    trials = [trial for trial in trials if trial.complete]
    tables = reproduce(latest_tables(sweeps), trials)
    shown = {row.key for table in tables for row in table.rows}
    used = [trial for trial in trials if trial.key in shown]
    data = used[0].config.data if used else "no data"
    lines = [f"# Results on {data}", "", "Generated from the record; do not edit.", "", *_provenance(used), ""]
    lines += [f"![Reported and reproduced test errors]({FIGURE})", ""]
    lines += [
        "Each error is the minimum over the epochs, as the report prints it, and the epoch of it. Choosing the epoch "
        "on the test split makes the test column optimistic; the error after the last epoch stands beside it.",
        "",
    ]
    for table in tables:
        lines += [*_table(table), ""]
    lines += _disagreements(tables)
    return "\n".join(lines) + "\n", tables


def latest_tables(sweeps: Sequence[SweepRecord]) -> list[PlacedTable]:
    """Every table once, as the latest sweep that ran it placed it, in the order of their numbers."""
    latest = {table.number: table for sweep in sweeps for table in sweep.tables}
    return [latest[number] for number in sorted(latest, key=lambda n: (int("".join(filter(str.isdigit, n))), n))]


def _provenance(trials: Sequence[TrialRecord]) -> list[str]:
    """What the figures were made with: each distinct value of each tag."""

    def values(tag: str) -> str:
        return ", ".join(dict.fromkeys(t.tags[tag] for t in trials if tag in t.tags)) or "missing"

    seconds = sum(value for trial in trials for _, value in trial.metrics.get("epoch_s", []))
    seeds = sorted({seed for trial in trials for seed in trial.seeds})
    epochs = sorted({trial.config.epochs for trial in trials})
    return [
        "| | |",
        "|---|---|",
        f"| data | {values('data')}, form {values('data_form')}, fingerprint `{values('data_fingerprint')}` |",
        f"| trials | {len(trials)}, seeds {_listed(seeds)}, {_listed(epochs)} epochs, {seconds / 3600:.1f} slot hours"
        " |",
        f"| hardware | {values('device_name')} |",
        f"| versions | Python {values('python')}, torch {values('torch')}, torchvision {values('torchvision')}, "
        f"Ray {values('ray')}, MLflow {values('mlflow')} |",
        f"| commit | {values('git_commit')} |",
    ]


def _table(filled: ReproducedTable) -> list[str]:
    header, *rows = filled.as_text()
    lines = [f"## Table {filled.table.number}. {filled.table.title}", ""]
    lines += [_line(header), "|" + "---|" * len(header), *map(_line, rows)]
    return lines + (["", filled.table.note] if filled.table.note else [])


def _disagreements(tables: Sequence[ReproducedTable]) -> list[str]:
    """Where the printed test figures are not reproduced, each distinct config once."""
    rows: dict[str, tuple[ReproducedTable, ReproducedRow]] = {}
    for table in tables:
        for row in table.rows:
            if table.comparable and row.reported and row.test:
                rows.setdefault(row.key, (table, row))
    if not rows:
        return []
    lines = ["## Where the report is not reproduced", ""]
    for table, row in rows.values():
        if verdict(row) == "no" and row.reported and row.test:
            difference = row.test.mean - row.reported.test_error
            lines.append(
                f"- Table {table.table.number}, {row.name}: test error {row.test.mean:.4f}, reported "
                f"{row.reported.test_error:.4f} ({difference:+.4f})."
            )
    agreeing = sum(verdict(row) != "no" for _, row in rows.values())
    single = all(len(row.seeds) == 1 for _, row in rows.values())
    lines += ["", f"The printed test error of the other {agreeing} of {len(rows)} configs agrees with ours."]
    if single:
        lines.append(
            "With one seed, agreement (`within noise`) means that the two runs differ by less than the binomial 95% "
            "bound of a difference on this many test images. That bound leaves out how much runs differ by their "
            "seeds, so it is too narrow: a difference outside it is not yet established."
        )
    return lines


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


def main(record: Path, page: Path) -> None:
    """Write the results page of the exported RECORD to PAGE, and its figure beside it."""
    try:
        text, tables = results_page(*read_folder(record))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {record}: not an exported record: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text)
    if tables:
        draw_tables(tables, page.with_name(FIGURE))


if __name__ == "__main__":
    typer.run(main)
