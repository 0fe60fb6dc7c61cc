"""How well an early error foretells the order of configs at the end of their trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.intervals import CONFIDENCE
from analysis.recorded import VAL_ERROR
from analysis.replicates import Replicates
from trainable.study import ResolvedTable

RAW = f"raw_{VAL_ERROR}"
"""The error of the weights as they are, which trainings with a moving average report beside the average's."""
LEAST_CONFIGS = 4
RESAMPLES = 2000


@dataclass(frozen=True)
class Prediction:
    """How well one signal orders configs as the end of their trainings does."""

    signal: str
    epochs: int
    """Epochs of training until the signal is known."""
    tau: float
    """Kendall's tau between the signal and the error after the last epoch: 1 is the same order, 0 no relation."""
    low: float
    high: float
    """The 95% interval of tau: a percentile bootstrap over configs."""
    configs: int


def predictions(table: ResolvedTable, trainings: Mapping[str, Replicates]) -> list[Prediction]:
    """The signals of a calibration table by signal and epoch, for the configs whose signal and end are recorded.

    Signals are the error after each epoch, where configs train with one also the error of the moving average of their
    weights, and the last error of a shorter training with a schedule of its own. Fewer than `LEAST_CONFIGS` configs
    predict nothing.
    """
    ends: dict[str, float] = {}
    signals: dict[tuple[str, int], dict[str, float]] = {}
    for row in table.rows:
        config, _, share = row.name.partition(", ")
        trained = trainings.get(row.key)
        if trained is None:
            continue
        averaged, raw = _mean_by_epoch(trained, VAL_ERROR), _mean_by_epoch(trained, RAW)
        if share:
            signals.setdefault((f"last error of {share} of the epochs", row.config.epochs), {})[config] = averaged[-1]
            continue
        ends[config] = averaged[-1]
        by_signal = {"error": raw, "error of the moving average": averaged} if raw else {"error": averaged}
        for signal, errors in by_signal.items():
            for epoch, error in enumerate(errors[:-1], start=1):
                signals.setdefault((signal, epoch), {})[config] = error
    made = [_prediction(signal, epochs, values, ends) for (signal, epochs), values in signals.items()]
    return [each for each in made if each is not None]


def _mean_by_epoch(trained: Replicates, metric: str) -> list[float]:
    curves = trained.curves(metric)
    return curves.mean(0).tolist() if curves.size else []


def _prediction(signal: str, epochs: int, values: Mapping[str, float], ends: Mapping[str, float]) -> Prediction | None:
    configs = [config for config in values if config in ends]
    if len(configs) < LEAST_CONFIGS:
        return None
    early, last = ([source[config] for config in configs] for source in (values, ends))
    low, high = stats.bootstrap(
        (early, last), _tau, paired=True, vectorized=False, n_resamples=RESAMPLES, confidence_level=CONFIDENCE,
        method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Prediction(signal, epochs, _tau(early, last), float(low), float(high), len(configs))


def _tau(early: Sequence[float], last: Sequence[float]) -> float:
    """Kendall's tau-b; 0 where all values of a side are equal, as in a resample of one config."""
    tau = stats.kendalltau(early, last).statistic
    return 0.0 if np.isnan(tau) else float(tau)
