"""How well an early error foretells the order of configs at the end of their trainings."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.record.recorded import VAL_ERROR
from analysis.record.replicates import Replicates
from analysis.statistics.intervals import CONFIDENCE
from trainable.config import Config
from trainable.study import ResolvedTable

RAW = f"raw_{VAL_ERROR}"
"""The error of the weights as they are, which trainings with a moving average report beside the average's."""
LEAST_CONFIGS = 4
RESAMPLES = 2000


SHORTER_TRAINING = "last error of a shorter training"
"""The signal of trainings for fewer epochs, each with a whole schedule of its own."""


@dataclass(frozen=True)
class RankAgreement:
    """How well one signal orders configs as the end of their trainings does."""

    signal: str
    """`error`, `error of the moving average` or `SHORTER_TRAINING`."""
    epochs: int
    """Epochs of training until the signal is known."""
    tau: float
    """Kendall's tau between the signal and the error after the last epoch: 1 is the same order, 0 no relation."""
    low: float
    high: float
    """The 95% interval of tau: a percentile bootstrap over configs."""
    configs: int


def rank_agreements(table: ResolvedTable, trainings: Mapping[str, Replicates]) -> list[RankAgreement]:
    """The signals of a calibration table by signal and epoch, for the configs whose signal and end are recorded.

    Signals are the error after each epoch, where configs train with one also the error of the moving average of their
    weights, and the last error of a shorter training with a schedule of its own. Fewer than `LEAST_CONFIGS` configs
    say nothing.
    """
    ends: dict[Config, float] = {}
    signals: dict[tuple[str, int], dict[Config, float]] = {}
    whole = max(row.config.epochs for row in table.rows)
    for row in table.rows:
        config, trained = row.config.change(epochs=whole), trainings.get(row.key)
        if trained is None or row.config.held_out != VAL_ERROR:
            continue
        averaged, raw = _mean_by_epoch(trained, VAL_ERROR), _mean_by_epoch(trained, RAW)
        if row.config.epochs < whole:
            signals.setdefault((SHORTER_TRAINING, row.config.epochs), {})[config] = averaged[-1]
            continue
        ends[config] = averaged[-1]
        by_signal = {"error": raw, "error of the moving average": averaged} if raw else {"error": averaged}
        for signal, errors in by_signal.items():
            for epoch, error in enumerate(errors[:-1], start=1):
                signals.setdefault((signal, epoch), {})[config] = error
    made = [_agreement(signal, epochs, values, ends) for (signal, epochs), values in signals.items()]
    return [each for each in made if each is not None]


def _mean_by_epoch(trained: Replicates, metric: str) -> list[float]:
    curves = trained.curves(metric)
    return curves.mean(0).tolist() if curves.size else []


def _agreement(
    signal: str, epochs: int, values: Mapping[Config, float], ends: Mapping[Config, float]
) -> RankAgreement | None:
    configs = [config for config in values if config in ends]
    if len(configs) < LEAST_CONFIGS:
        return None
    early, last = (np.array([source[config] for config in configs]) for source in (values, ends))
    draws = np.random.default_rng(0).integers(len(configs), size=(RESAMPLES, len(configs)))
    drawn = np.stack([np.bincount(draw, minlength=len(configs)) for draw in draws])
    outside = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(_taus(early, last, drawn), [outside, 100 - outside])
    (tau,) = _taus(early, last, np.ones((1, len(configs))))
    return RankAgreement(signal, epochs, float(tau), float(low), float(high), len(configs))


def _taus(early: np.ndarray, last: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of samples in which each config stands as often as `drawn` (samples x configs) says; 0 where all
    values of a side are equal, as in a sample of one config. SciPy computes one sample a call, which takes a minute for
    all of a calibration."""
    orders = [np.sign(errors[:, None] - errors) for errors in (early, last)]

    def pairs(sign: np.ndarray) -> np.ndarray:
        return np.einsum("bi,ij,bj->b", drawn, sign, drawn)

    apart = pairs(np.abs(orders[0])) * pairs(np.abs(orders[1]))
    return pairs(orders[0] * orders[1]) / np.sqrt(np.where(apart, apart, np.inf))
