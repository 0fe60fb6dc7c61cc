"""The errors of a network without and with batch norm at several learning rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from analysis.effects import p_text
from analysis.intervals import as_text, seed_count
from analysis.replicates import Replicates
from analysis.t_tests import PairedDifference, paired_difference, t_tests
from trainable.study import ResolvedTable


@dataclass(frozen=True)
class RateErrors:
    """The held-out errors after the last epoch at one learning rate, by seed."""

    rate: str
    plain: dict[int, float]
    normed: dict[int, float]

    @property
    def difference(self) -> PairedDifference:
        """That with batch norm minus that without, paired by seed."""
        return paired_difference(self.normed, self.plain)


def errors_by_rate(tables: Sequence[ResolvedTable], trainings: Mapping[str, Replicates]) -> list[RateErrors]:
    """The errors at each learning rate that both tables, that without and that with batch norm, have a trained row of,
    in the order of the rates. Empty where there are not two tables."""
    if len(tables) != 2:
        return []
    plain, normed = tables
    keys = {row.name: row.key for row in normed.rows}
    both = [(row.config.lr, row.name, row.key, keys[row.name]) for row in plain.rows if row.name in keys]
    trained = [
        RateErrors(name, trainings[key].last_errors(), trainings[normed_key].last_errors())
        for _, name, key, normed_key in sorted(both)
        if {key, normed_key} <= trainings.keys()
    ]
    return [each for each in trained if each.plain and each.normed]


def best_rates_text(errors: Sequence[RateErrors], error: str, margin: float) -> str:
    """What batch norm does to the error where each network has its best learning rate, in sentences. `errors` are in
    the order of the rates; for the margin see `best_rates_difference`."""
    plain, normed = _means(errors)
    best_plain, best_normed = _best(errors)
    paired = best_rates_difference(errors, margin)
    difference = f": a difference of {paired}" if paired else ""
    ends = [
        f" The best rate {network} batch norm is the {'lowest' if index == 0 else 'highest'} that was tried: a "
        f"{'lower' if index == 0 else 'higher'} one may be better still."
        for network, index in (("without", best_plain), ("with", best_normed))
        if len(errors) > 1 and index in (0, len(errors) - 1)
    ]
    return (
        f"At the best of {len(errors)} learning rates for each network, the {error} is {min(plain):.4f} without batch "
        f"norm ({errors[best_plain].rate}) and {min(normed):.4f} with it ({errors[best_normed].rate}){difference}. The "
        f"rates are chosen by these errors, which makes both a little too low.{''.join(ends)}"
    )


def best_rates_difference(errors: Sequence[RateErrors], margin: float) -> str:
    """The error with batch norm minus that without, where each network has its best learning rate, paired by seed, with
    the tests of whether there is a difference and of whether it is smaller than the margin. Empty where the two share
    no seed."""
    plain, normed = _best(errors)
    differences = paired_difference(errors[normed].normed, errors[plain].plain).values
    if not differences:
        return ""
    tests = t_tests(differences, margin)
    p_values = (
        f" (p {p_text(tests.difference_p)}; that it is smaller than {margin:g}: p {p_text(tests.equivalence_p)}; "
        "neither is corrected)"
        if tests
        else ""
    )
    return f"{as_text(differences, '+.4f')}, paired over {seed_count(len(differences))}{p_values}"


def spans_text(errors: Sequence[RateErrors], error: str) -> str:
    """How far the errors at the rates lie apart, in a sentence."""
    plain, normed = (max(means) - min(means) for means in _means(errors))
    return (
        f"Between the best and the worst of the rates the {error} differs by {plain:.4f} without batch norm and by "
        f"{normed:.4f} with it."
    )


def _means(errors: Sequence[RateErrors]) -> tuple[list[float], list[float]]:
    """The means over the seeds at each rate, without and with batch norm."""
    return [fmean(each.plain.values()) for each in errors], [fmean(each.normed.values()) for each in errors]


def _best(errors: Sequence[RateErrors]) -> tuple[int, int]:
    """Where the lowest of these means are, without and with batch norm."""
    plain, normed = _means(errors)
    return plain.index(min(plain)), normed.index(min(normed))
