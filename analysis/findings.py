"""What the data say against the report: figures that are not reproduced, and sentences that its tables contradict."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from scipy import stats

from analysis.effects import Effect, p_text
from analysis.intervals import as_text
from analysis.page import Block, Grid
from analysis.record import VAL_ERROR, WINNER_METRIC, TrialRecord
from analysis.replicates import Replicates
from analysis.tables import ReproducedRow, ReproducedTable
from trainable.study import PlacedTable

BATCH_NORM = {"batch_norm": True}
HINGE = {"loss": "hinge"}
BIGGER = {"channels": (64, 128), "hidden": (512, 512)}
SMALLER = {"channels": (4, 8), "hidden": (32, 32)}
MISSING = "missing: not recorded"
ALPHA = 0.05
OVER_FITTED = 2
"""A test error of more than so many times the train error, for every seed, is serious over-fitting."""
CHANCE = 0.9
"""The error of one answer for all of CIFAR-10's ten classes."""


def in_short(tables: Sequence[ReproducedTable], measured: Sequence[Effect], best: TrialRecord | None) -> list[str]:
    """The page in a few sentences: what is reproduced, which effects are established, what the search found."""
    compared = _compared(tables)
    lines = [_agreement([row for _, row in compared])] if compared else []
    for study in dict.fromkeys(effect.study for effect in measured):
        lines.append(_established(study, [effect for effect in measured if effect.study == study]))
    if best:
        read = best.metrics.get(WINNER_METRIC)
        tested_once = f"test error, read once, {read[-1][1]:.4f}" if read else "test error not read yet"
        lines.append(
            f"The search's best batch-norm config, {best.name}: validation error "
            f"{best.metrics[VAL_ERROR][-1][1]:.4f}, {tested_once}."
        )
    return lines


def disagreements(tables: Sequence[ReproducedTable]) -> list[str]:
    """Where the printed test figures are not reproduced, each distinct config once."""
    lines = []
    for table, row in _compared(tables):
        cell, printed = row.held_out, row.reported
        assert cell and printed
        interval = cell.next_run()
        if interval and row.verdicts and row.verdicts[1] == "no":
            lines.append(
                f"Not reproduced: {_where(table, row)}: test error {cell.mean:.4f}, one more run within "
                f"{interval[0]:.4f} to {interval[1]:.4f}, reported {printed.test_error:.4f} "
                f"({cell.mean - printed.test_error:+.4f})."
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
                    f"In {_where(table, row)} the training never left chance with seed {', '.join(lost)}; the interval "
                    "is so wide for that reason, and holds almost any figure."
                )
    return lines


def _where(table: ReproducedTable, row: ReproducedRow) -> str:
    return f"table {table.table.number}, {row.name}"


def _compared(tables: Sequence[ReproducedTable]) -> list[tuple[ReproducedTable, ReproducedRow]]:
    """Each distinct config with a printed figure and one of ours, in the first table that has it."""
    rows: dict[str, tuple[ReproducedTable, ReproducedRow]] = {}
    for table in tables:
        for row in table.rows:
            if table.comparable and row.verdicts:
                rows.setdefault(row.key, (table, row))
    return list(rows.values())


def _agreement(rows: Sequence[ReproducedRow]) -> str:
    count = Counter(row.verdicts[1] for row in rows if row.verdicts)
    shifts = [row.held_out.mean - row.reported.test_error for row in rows if row.held_out and row.reported]
    higher = sum(shift > 0 for shift in shifts)
    chance = stats.binomtest(higher, len(shifts)).pvalue
    return (
        f"Of {len(rows)} printed test errors {count['yes']} lie in the 95% prediction interval of one more of our "
        f"runs, {count['no']} do not, {count['one seed']} have a single seed and no interval. Ours is higher in "
        f"{higher} of them (sign test p {p_text(chance)}), by {median(shifts):+.4f} in the median"
        + (": a shift of all, not of single rows." if chance < ALPHA else ".")
    )


def _established(study: str, family: Sequence[Effect]) -> str:
    tested = [effect for effect in family if effect.t_holm is not None]
    worse, better = (
        ", ".join(f"{each.name} ({each.mean:+.4f})" for each in tested if _sure(each) and (each.mean < 0) == lower)
        for lower in (False, True)
    )
    return (
        f"Study {study}: {len(tested)} of {len(family)} changes have seeds enough for a test. Established (paired "
        f"t-test on the last epoch's error, p < {ALPHA} after Holm's correction) are as raising the error: "
        f"{worse or 'none'}; as lowering it: {better or 'none'}. Of the others these seeds establish nothing."
    )


def _sure(effect: Effect) -> bool:
    return effect.t_holm is not None and effect.t_holm < ALPHA


def claims(tables: Sequence[PlacedTable], found: Mapping[str, Replicates], measured: Sequence[Effect]) -> list[Block]:
    """The report's sentences that its own tables contradict, each with what the record says."""
    base = next(row.config for table in tables for row in table.rows if row.config.is_baseline)
    by_config = {each.config: each for each in found.values()}
    by_key = {effect.key: effect for effect in measured}

    def key_of(change: dict) -> str:
        own = by_config.get(base.change(**change))
        return own.key if own else ""

    bigger, smaller, norm, hinge = (by_key.get(key_of(change)) for change in (BIGGER, SMALLER, BATCH_NORM, HINGE))
    rows = [
        (
            "Errors rise with the network's size",
            "contradicted" if bigger and _sure(bigger) and bigger.mean < 0 else "not established",
            f"bigger: {_difference(bigger)}; smaller: {_difference(smaller)}",
        ),
        ("There is no serious over-fitting", *_over_fitting(by_config.get(base))),
        (
            "Batch norm lowers the test error (by .0092, one run)",
            "established" if norm and _sure(norm) and norm.mean < 0 else "not established",
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
            "One optimizer is better than another",
            "confounded",
            "they are compared at unequal learning rates that nobody tuned: the table orders the settings, not the "
            "optimizers",
        ),
    ]
    return [Grid(("the report says", "which is", "the data say (differences of the last epoch's test error)"), rows)]


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
        f"{as_text(test[:, -1].tolist())}, which is {rise.mean():+.4f} above its minimum"
    )
