"""What batch norm does to the error at several learning rates, in sentences."""

import itertools
from statistics import fmean

import numpy as np

from analysis.learning_rates import RateErrors
from analysis.statistics.t_tests import p_text, t_tests
from analysis.writing.words import listed


def best_rates(errors: RateErrors) -> str:
    """The learning rates of `RateErrors.best`, in words."""
    plain, normed = errors.plain.tried, errors.normed.tried
    if plain == normed:
        return f"the best of {len(plain)} learning rates for each network"
    return f"the best learning rate for each network, of {len(plain)} without batch norm and {len(normed)} with it"


def best_rates_text(errors: RateErrors, error: str) -> str:
    """What batch norm does to the error where each network has its best learning rate."""
    plain, normed = errors.best
    paired = errors.best_difference.text
    difference = f": a difference of {paired}" if paired else ""
    ends = [
        f" The best rate {network} batch norm is the {'lowest' if best == tried[0] else 'highest'} that was tried: a "
        f"{'lower' if best == tried[0] else 'higher'} one may be better still."
        for network, best, tried in (
            ("without", plain, errors.plain.tried),
            ("with", normed, errors.normed.tried),
        )
        if len(tried) > 1 and best in (tried[0], tried[-1])
    ]
    return (
        f"At {best_rates(errors)}, the {error} is {errors.plain.mean(plain):.4f} without batch norm ({plain:g}) and "
        f"{errors.normed.mean(normed):.4f} with it ({normed:g}){difference}.{''.join(ends)}"
    )


def next_best_text(errors: RateErrors) -> str:
    """What the difference would be with the next best rate of the network with batch norm. Empty where there is no
    other, and where the two share no seed."""
    if len(errors.normed.errors) < 2:
        return ""
    rate = errors.normed.ranked()[1]
    difference = errors.difference(errors.best.plain, rate).text
    return f"With the next best rate with batch norm, {rate:g}, the difference is {difference}." if difference else ""


def same_rates_text(errors: RateErrors, error: str) -> str:
    """At which learning rates batch norm lowers the mean error and at which it raises it. Empty where the networks
    share fewer than two rates with a seed of both."""
    compared = {rate: errors.difference(rate, rate).values for rate in errors.rates}
    means = {rate: fmean(values) for rate, values in compared.items() if values}
    if len(means) < 2:
        return ""
    changes = {"lowers": -1, "raises": 1, "does not change": 0}
    by_change = {
        change: [f"{rate:g} ({mean:+.4f})" for rate, mean in means.items() if np.sign(mean) == sign]
        for change, sign in changes.items()
    }
    what = itertools.chain([f"the mean {error}"], itertools.repeat("it"))
    said = [f"{change} {next(what)} at {listed(rates)}" for change, rates in by_change.items() if rates]
    return f"With the same rate for both networks, batch norm {listed(said)}."


def choice_text(errors: RateErrors, margin: float) -> str:
    """How the best rates were chosen, and whether the difference there is surely smaller than the margin."""
    left_out = [
        f"{rate:g} {network} it"
        for network, rates in (("without", errors.plain.at_chance), ("with", errors.normed.at_chance))
        for rate in rates
    ]
    said = (
        "The best rate of a network has the lowest mean error over the seeds that all its rates have "
        f"({len(errors.plain.shared_seeds)} without batch norm, {len(errors.normed.shared_seeds)} with it)."
        + (f" A training ended at chance at {listed(left_out)}: these rates are left out." if left_out else "")
    )
    if not errors.nested:
        return f"{said} That choice makes both errors a little too low, and may shift their difference either way."
    same = {errors.chosen_for(seed) for seed in errors.best_differences} == {errors.best}
    tests = t_tests(errors.best_difference.values, margin)
    return (
        f"{said} That choice makes the two errors a little too low. For the difference, each seed's rates are chosen "
        f"without that seed, which changes {'no choice' if same else 'some choices'}."
        + (f" That it is smaller than {margin:g} has p {p_text(tests.equivalence_p)}, not corrected." if tests else "")
    )


def spans_text(errors: RateErrors, error: str) -> str:
    """How far the errors lie apart at the learning rates that both networks have; empty where these are not two at
    least."""
    both = sorted(errors.plain.errors.keys() & errors.normed.errors.keys())
    if len(both) < 2:
        return ""
    plain, normed = (
        max(means) - min(means)
        for means in ([each.mean(rate) for rate in both] for each in (errors.plain, errors.normed))
    )
    return (
        f"Between the best and the worst of the rates with which both learned, {both[0]:g} to {both[-1]:g}, the "
        f"{error} differs by {plain:.4f} without batch norm and by {normed:.4f} with it."
    )
