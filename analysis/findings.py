"""What the data say against the report: figures that are not reproduced, and sentences that its tables contradict."""

from collections.abc import Mapping, Sequence
from statistics import mean, median

from analysis.effects import Effect, p_text
from analysis.page import Block, Grid
from analysis.record import VAL_ERROR, WINNER_METRIC, TrialRecord
from analysis.replicates import Replicates
from analysis.tables import ReproducedRow, ReproducedTable, verdict
from trainable.study import PlacedTable

BIGGER = {"channels": (64, 128), "hidden": (512, 512)}
SMALLER = {"channels": (4, 8), "hidden": (32, 32)}
MISSING = "missing: not recorded"
ALPHA = 0.05


def in_short(tables: Sequence[ReproducedTable], measured: Sequence[Effect], best: TrialRecord | None) -> list[str]:
    """The page in a few sentences: what is reproduced, which effects are established, what the search found."""
    compared = _compared(tables)
    lines = [_agreement(compared)] if compared else []
    if tested := [effect for effect in measured if effect.t_holm is not None]:
        sure = [effect for effect in tested if effect.t_holm < ALPHA]  # type: ignore[operator]
        worse, better = (
            ", ".join(f"{effect.name} ({effect.mean:+.4f})" for effect in sure if (effect.mean < 0) == lower) or "none"
            for lower in (False, True)
        )
        lines.append(
            f"Of {len(tested)} changes with more than one seed, {len(sure)} have an established effect on the last "
            f"epoch's test error (paired t-test, p < {ALPHA} after Holm's correction). They raise it: {worse}. They "
            f"lower it: {better}. Of the others these seeds establish nothing."
        )
    if best:
        read = best.metrics.get(WINNER_METRIC)
        tested_once = f"test error, read once, {read[-1][1]:.4f}" if read else "test error not read yet"
        lines.append(
            f"The search's best batch-norm config, {best.name}: validation error "
            f"{best.metrics[VAL_ERROR][-1][1]:.4f}, {tested_once}."
        )
    return lines


def disagreements(tables: Sequence[ReproducedTable]) -> list[str]:
    """Where the printed test figures are not reproduced, each distinct config once, then how many are."""
    compared = _compared(tables)
    if not compared:
        return []
    lines = [
        f"Not reproduced: table {table.table.number}, {row.name}: test error {row.test.mean:.4f}, reported "
        f"{row.reported.test_error:.4f} ({row.test.mean - row.reported.test_error:+.4f})."
        for table, row in compared
        if verdict(row) == "no" and row.reported and row.test
    ]
    lines.append(_agreement(compared))
    if any(len(row.seeds) == 1 for _, row in compared):
        lines.append(
            "With one seed, agreement (`within noise`) means that the two runs differ by less than the binomial 95% "
            "bound of a difference on this many test images. That bound leaves out how much runs differ by their "
            "seeds, so it is too narrow: a difference outside it is not yet established."
        )
    return lines


def _compared(tables: Sequence[ReproducedTable]) -> list[tuple[ReproducedTable, ReproducedRow]]:
    """Each distinct config with a printed figure and one of ours, in the first table that has it."""
    rows: dict[str, tuple[ReproducedTable, ReproducedRow]] = {}
    for table in tables:
        for row in table.rows:
            if table.comparable and row.reported and row.test:
                rows.setdefault(row.key, (table, row))
    return list(rows.values())


def _agreement(compared: Sequence[tuple[ReproducedTable, ReproducedRow]]) -> str:
    agreeing = sum(verdict(row) != "no" for _, row in compared)
    shifts = [row.test.mean - row.reported.test_error for _, row in compared if row.test and row.reported]
    return (
        f"The printed test error of {agreeing} of {len(compared)} configs agrees with ours. Ours is higher in "
        f"{sum(shift > 0 for shift in shifts)} of them; the difference is {mean(shifts):+.4f} on average, "
        f"{median(shifts):+.4f} in the median."
    )


def claims(tables: Sequence[PlacedTable], found: Mapping[str, Replicates], measured: Sequence[Effect]) -> list[Block]:
    """The report's sentences that its own tables contradict, each with what the record says."""
    base = next(row.config for table in tables for row in table.rows if row.config.is_baseline)
    by_config = {each.config: each for each in found.values()}
    by_key = {effect.key: effect for effect in measured}

    def effect(change: dict) -> str:
        own = by_config.get(base.change(**change))
        return MISSING if own is None or own.key not in by_key else _difference(by_key[own.key])

    rows = [
        ("Errors rise with the network's size", f"bigger: {effect(BIGGER)}; smaller: {effect(SMALLER)}"),
        ("There is no serious over-fitting", _over_fitting(by_config.get(base))),
        ("Batch norm lowers the test error (by .0092, one run)", effect({"batch_norm": True})),
        (
            "Table 4 shows the effect of the penalty against a zero row",
            f"its rows were trained with the hinge loss and its zero row with cross-entropy; hinge alone: "
            f"{effect({'loss': 'hinge'})}; the effects compare its rows with hinge",
        ),
        ("Table 4's row 0.01: train error .45312 at epoch 16", "its run's own minimum is .44874 at epoch 20"),
        (
            "One optimizer is better than another",
            "they are compared at unequal learning rates that nobody tuned: the table orders the settings, not the "
            "optimizers",
        ),
    ]
    return [Grid(("the report says", "the record says (last epoch's test error against the baseline's)"), rows)]


def _difference(effect: Effect) -> str:
    if effect.interval is None:
        why = "one seed" if len(effect.differences) == 1 else "all seeds equal"
        return f"{effect.mean:+.4f} ({why}: nothing is established)"
    low, high = effect.interval
    seeds = len(effect.differences)
    return f"{effect.mean:+.4f} [{low:+.4f}, {high:+.4f}], {seeds} seeds, p {p_text(effect.t_holm)} after Holm"


def _over_fitting(baseline: Replicates | None) -> str:
    if baseline is None:
        return MISSING
    train, test = (baseline.curves(metric) for metric in ("train_error", "test_error"))
    return (
        f"baseline, last epoch: train error {train[:, -1].mean():.4f}, test error {test[:, -1].mean():.4f}, which is "
        f"{(test[:, -1] - test.min(1)).mean():+.4f} above its minimum"
    )
