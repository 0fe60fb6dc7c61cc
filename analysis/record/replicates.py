"""The recorded trainings of a config taken together, whichever trials and sweeps they come from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.record.recorded import Series, TrialRecord, errors_by_seed
from trainable.config import Config


@dataclass(frozen=True)
class Replicates:
    """The complete trials of one key."""

    key: str
    config: Config
    trials: tuple[TrialRecord, ...]
    """Oldest first."""

    @property
    def fingerprint(self) -> str:
        """That of the data, which the key contains; empty where it is not recorded."""
        return self.trials[0].fingerprint

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that ran to their last epoch, ascending."""
        return tuple(sorted({seed for trial in self.trials for seed in trial.seeds}))

    def by_seed(self, metric: str) -> dict[int, Series]:
        """A metric's history for each seed that has one, in ascending order of the seeds.

        Where a seed was trained more than once, its first training counts: a figure must not depend on how often the
        seed was trained, and on other hardware rounding makes it another training.
        """
        histories: dict[int, Series] = {}
        for trial in self.trials:
            for seed, series in trial.by_seed(metric).items():
                if series:
                    histories.setdefault(seed, series)
        return dict(sorted(histories.items()))

    def spreads(self, metric: str) -> list[float]:
        """The largest minus the smallest last value of each seed that was trained more than once."""
        finals: dict[int, list[float]] = {}
        for trial in self.trials:
            for seed, series in trial.by_seed(metric).items():
                if series:
                    finals.setdefault(seed, []).append(series[-1][1])
        return [max(values) - min(values) for values in finals.values() if len(values) > 1]

    def last_by_seed(self, metric: str) -> dict[int, float]:
        """A metric's last value for each seed that has one, in ascending order of the seeds. It needs no histories. A
        seed's first training counts, as in `by_seed`."""
        return errors_by_seed(self.trials, self.key, metric)

    def last_errors(self) -> dict[int, float]:
        """The held-out error after the last epoch, by seed."""
        return {seed: series[-1][1] for seed, series in self.by_seed(self.config.held_out).items()}

    def curves(self, metric: str) -> np.ndarray:
        """A metric's values, (seeds, epochs)."""
        return np.array([[value for _, value in series] for series in self.by_seed(metric).values()])


def replicates(trials: Iterable[TrialRecord]) -> dict[str, Replicates]:
    """The complete trials by key."""
    by_key: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.complete:
            by_key.setdefault(trial.key, []).append(trial)
    return {key: Replicates(key, same_key[0].config, tuple(same_key)) for key, same_key in by_key.items()}
