"""A config's recorded trainings taken together: one series a seed, whichever trials and sweeps they come from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.record import Series, TrialRecord
from trainable.config import Config


@dataclass(frozen=True)
class Replicates:
    """All complete trials of one key, oldest first."""

    key: str
    config: Config
    trials: tuple[TrialRecord, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that ran to its last epoch."""
        return tuple(sorted({seed for trial in self.trials for seed in trial.seeds}))

    def by_seed(self, metric: str) -> dict[int, Series]:
        """A metric's history for each seed that has one, in ascending order of the seeds.

        Where a seed was trained again, for what is measured beside its errors, its first training counts: a figure
        must not depend on how often it was drawn, and on other hardware rounding grows into another training.
        """
        found: dict[int, Series] = {}
        for trial in self.trials:
            for seed, series in trial.by_seed(metric).items():
                if series:
                    found.setdefault(seed, series)
        return dict(sorted(found.items()))

    def spreads(self, metric: str) -> list[float]:
        """For each seed that was trained more than once, how far apart its last values are: largest minus smallest."""
        finals: dict[int, list[float]] = {}
        for trial in self.trials:
            for seed, series in trial.by_seed(metric).items():
                if series:
                    finals.setdefault(seed, []).append(series[-1][1])
        return [max(values) - min(values) for values in finals.values() if len(values) > 1]

    def curves(self, metric: str) -> np.ndarray:
        """A metric as (seeds, epochs)."""
        return np.array([[value for _, value in series] for series in self.by_seed(metric).values()])


def replicates(trials: Iterable[TrialRecord]) -> dict[str, Replicates]:
    """The complete trials by key."""
    by_key: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.complete:
            by_key.setdefault(trial.key, []).append(trial)
    return {key: Replicates(key, found[0].config, tuple(found)) for key, found in by_key.items()}
