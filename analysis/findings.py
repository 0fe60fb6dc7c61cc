"""What the data say against the report: figures that are not reproduced, and sentences that its tables contradict."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from scipy import stats

from analysis.effects import ALPHA, Effect, p_text
from analysis.intervals import as_text
from analysis.page import Block, Grid, Text
from analysis.replicates import Replicates
from analysis.tables import CHANCE, Cell, ReproducedRow, ReproducedTable, verdict
from trainable.study import ResolvedTable

BATCH_NORM = {"batch_norm": True}
HINGE = {"loss": "hinge"}
BIGGER = {"channels": (64, 128), "hidden": (512, 512)}
SMALLER = {"channels": (4, 8), "hidden": (32, 32)}
MISSING = "missing: not recorded"
OVER_FITTED = 2
"""A test error of more than so many times the train error, for every seed, is serious over-fitting."""


def agreement(tables: Sequence[ReproducedTable]) -> list[str]:
    """How many of the printed errors are reproduced, and whether ours lie to one side of them."""
    rows = [row for _, row in _compared(tables)]
    test = [(row.held_out, row.reported.test_error) for row in rows if row.held_out and row.reported]
    train = [(row.train, row.reported.train_error) for row in rows if row.train and row.reported]
    return [_agreement("test", test), _agreement("train", train)] if rows else []


def established(measured: Sequence[Effect]) -> list[str]:
    """Which effects of each study are sure."""
    studies = dict.fromkeys(effect.study for effect in measured)
    return [_established(study, [effect for effect in measured if effect.study == study]) for study in studies]


def disagreements(tables: Sequence[ReproducedTable]) -> list[str]:
    """Where a printed figure is not reproduced, each distinct config once."""
    lines = []
    for table, row in _compared(tables):
        assert row.train and row.held_out and row.reported
        figures = (("train", row.train, row.reported.train_error), ("test", row.held_out, row.reported.test_error))
        for split, cell, printed in figures:
            interval = cell.next_run()
            if interval and verdict(cell, printed) == "no":
                lines.append(
                    f"Not reproduced: {_where(table, row)}: {split} error {cell.mean:.4f}, one more run within "
                    f"{interval[0]:.4f} to {interval[1]:.4f}, reported {printed:.4f} ({cell.mean - printed:+.4f})."
                )
    return lines


def lost_runs(tables: Sequence[ReproducedTable]) -> list[str]:
    """Which trainings learned nothing."""
    lines = []
    for table in tables:
        for row in table.rows:
            errors = zip(row.seeds, row.held_out.minima, strict=True) if row.held_out else ()
            if lost := [str(seed) for seed, error in errors if error >= CHANCE]:
                lines.append(
                    f"In {_where(table, row)}, the training never left chance with seed {', '.join(lost)}: its seeds "
                    "are shown one by one, and nothing is judged by their interval."
                )
    return lines


def _where(table: ReproducedTable, row: ReproducedRow) -> str:
    return f"table {table.table.number}, {row.name}"


def _compared(tables: Sequence[ReproducedTable]) -> list[tuple[ReproducedTable, ReproducedRow]]:
    """Each distinct config with a printed figure and one of ours, in the first table that has it."""
    rows: dict[str, tuple[ReproducedTable, ReproducedRow]] = {}
    for table in tables:
        for row in table.rows:
            if row.verdicts:
                rows.setdefault(row.key, (table, row))
    return list(rows.values())


def _agreement(split: str, figures: Sequence[tuple[Cell, float]]) -> str:
    count = Counter(verdict(cell, printed) for cell, printed in figures)
    shifts = [cell.mean - printed for cell, printed in figures]
    higher = sum(shift > 0 for shift in shifts)
    chance = stats.binomtest(higher, len(shifts)).pvalue
    unjudged = len(figures) - count["yes"] - count["no"]
    return (
        f"Of {len(figures)} printed {split} errors {count['yes']} lie in the 95% prediction interval of one more of "
        f"our runs, {count['no']} do not"
        + (f", {unjudged} cannot be judged (one seed, or a training lost at chance)" if unjudged else "")
        + f". Ours are higher in {higher} (sign test p {p_text(chance)}), by {median(shifts):+.4f} in the median."
    )


def _established(study: str, family: Sequence[Effect]) -> str:
    tested = [effect for effect in family if effect.t_holm is not None]
    if not tested:
        return f"Study {study}: none of {len(family)} changes has seeds enough for a test."
    worse, better = (
        ", ".join(f"{each.name} ({each.mean:+.4f})" for each in tested if each.established and (each.mean < 0) == lower)
        for lower in (False, True)
    )
    seeds = min(len(effect.differences) for effect in tested)
    least = stats.t.isf(ALPHA / 2 / len(tested), seeds - 1)
    undecided = sum(not effect.established for effect in tested)
    return (
        f"Study {study}, {len(tested)} of {len(family)} changes tested (last epoch's error, paired t-test, p < {ALPHA} "
        f"after Holm's correction): the error is raised by {worse or 'none'}; lowered by {better or 'none'}. "
        f"{undecided} stay undecided, which is not the same as without effect: with {seeds} seeds the strongest of "
        f"{len(tested)} has to reach |t| = {least:.1f}."
    )


def claims(tables: Sequence[ResolvedTable], found: Mapping[str, Replicates], measured: Sequence[Effect]) -> list[Block]:
    """The report's sentences that its own tables contradict, each with what the record says. The tables are those that
    may be compared with the report's."""
    base = next(row.config for table in tables for row in table.rows if row.config.is_baseline)
    keys = {row.config: row.key for table in tables for row in table.rows}
    by_key = {effect.key: effect for effect in measured}

    def key_of(change: dict) -> str:
        return keys.get(base.change(**change), "")

    bigger, smaller, norm, hinge = (by_key.get(key_of(change)) for change in (BIGGER, SMALLER, BATCH_NORM, HINGE))
    rows = [
        (
            "Errors rise with the network's size",
            _verdict(bigger, rises=True),
            f"bigger: {_difference(bigger)}; smaller: {_difference(smaller)}. In the report's own table 2 they fall",
        ),
        ("There is no serious over-fitting", *_over_fitting(found.get(keys[base]))),
        (
            "Batch norm lowers the test error (by .0092, one run)",
            _verdict(norm, rises=False),
            _difference(norm),
        ),
        (
            "Table 4 shows the effect of the penalty against a zero row",
            "confounded",
            "its rows were trained with the hinge loss and its zero row with cross-entropy; hinge alone: "
            f"{_difference(hinge)}. The effects above compare its rows with hinge; table 4b is what it states",
        ),
        (
            "Table 4's row 0.01: train error .45312 at epoch 16",
            "misprinted",
            "the report's own log of that run has its minimum, .44874, at epoch 20",
        ),
        (
            "Table 6 shows which optimizer is better",
            "confounded",
            "they are compared at unequal learning rates that nobody tuned: the table orders the settings, not the "
            "optimizers",
        ),
    ]
    note = Text(
        "Likely and unlikely: the 95% interval excludes 0, but not after Holm's correction over the whole study."
    )
    return [
        note,
        Grid(("the report says", "verdict", "the data say (differences of the last epoch's test error)"), rows),
    ]


def _verdict(effect: Effect | None, rises: bool) -> str:
    """Of the sentence that a change raises (or lowers) the error."""
    if effect is None or effect.interval is None or effect.interval[0] <= 0 <= effect.interval[1]:
        return "not established"
    agrees = (effect.mean > 0) == rises
    if effect.established:
        return "established" if agrees else "contradicted"
    return "likely" if agrees else "unlikely"


def _difference(effect: Effect | None) -> str:
    if effect is None:
        return MISSING
    if effect.interval is None:
        why = "one seed" if len(effect.differences) == 1 else "all seeds equal"
        return f"{effect.mean:+.4f} ({why}: nothing is established)"
    low, high = effect.interval
    seeds = len(effect.differences)
    return f"{effect.mean:+.4f} [{low:+.4f}, {high:+.4f}], {seeds} seeds, p {p_text(effect.t_holm)} after Holm"


def _over_fitting(baseline: Replicates | None) -> tuple[str, str]:
    if baseline is None:
        return "not established", MISSING
    train, test = (baseline.curves(metric) for metric in ("train_error", "test_error"))
    rise = test[:, -1] - test.min(1)
    over_fitted = (test[:, -1] > OVER_FITTED * train[:, -1]).all()
    return "contradicted" if over_fitted else "not established", (
        f"baseline, last epoch: train error {as_text(train[:, -1].tolist())}, test error "
        f"{as_text(test[:, -1].tolist())}, which is {rise.mean():+.4f} above its minimum; serious is a test error of "
        f"more than {OVER_FITTED} times the train error, for every seed"
    )
