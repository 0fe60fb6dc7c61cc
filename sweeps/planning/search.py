"""The search for the best batch-norm configuration as data: its space, and how far the record has it. No Ray here.

All of it is on protocol B: the validation error decides, and the test split is read once, for the winner. A search is
continued, not repeated: what the record has of it is told to Optuna, and interrupted trials are taken up first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.record import WINNER_METRIC, TrialRecord, best_of
from sweeps.forecast import Forecaster
from trainable.config import Config

STUDY = "search"
FIXED: dict[str, Any] = {"protocol": "B", "batch_norm": True}
SPACE: dict[str, BaseDistribution] = {
    "optimizer": CategoricalDistribution(["adam", "adamw"]),
    "lr": FloatDistribution(1e-4, 3e-2, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-1, log=True),
    "schedule": CategoricalDistribution(["constant", "cosine", "one_cycle"]),
    "batch_size": CategoricalDistribution([64, 128, 256]),
    "label_smoothing": FloatDistribution(0.0, 0.2),
    "dropout": FloatDistribution(0.0, 0.3),
    "bn_momentum": FloatDistribution(0.01, 0.5, log=True),
    "flip": CategoricalDistribution([False, True]),
    "shift": IntDistribution(0, 4),
}

EXTREME: dict[str, Any] = {
    name: space.choices[-1] if isinstance(space, CategoricalDistribution) else space.high  # type: ignore[attr-defined]
    for name, space in SPACE.items()
}
"""One corner of the space: what does not go together with it does not go together with the search."""
ASHA_SHARE = 0.5
"""Share of all the epochs that a search under ASHA trains, about; the forecast's assumption."""


@dataclass(frozen=True)
class Search:
    """A search and how far the record has it."""

    base: Config
    """What every suggestion shares."""
    samples: int
    fingerprint: str
    """The data's."""
    known: Sequence[TrialRecord] = field(default=())
    """The record's trials of this search."""

    def with_trials(self, trials: Sequence[TrialRecord]) -> "Search":
        """The same search, knowing those of a record's trials that are its own."""
        own = [
            trial
            for trial in trials
            if trial.tags.get("study") == STUDY
            and trial.tags.get("data_fingerprint") == self.fingerprint
            and trial.config.change(**point(self.base)) == self.base
        ]
        return replace(self, known=own)

    @property
    def finished(self) -> list[TrialRecord]:
        """The trials that ran to the end or were stopped by ASHA."""
        return list({trial.key: trial for trial in self.known if trial.status == "FINISHED"}.values())

    @property
    def interrupted(self) -> list[TrialRecord]:
        """The trials that the search suggested and that neither finished nor failed since."""
        settled = {trial.key for trial in self.known if trial.status in ("FINISHED", "FAILED")}
        return list({trial.key: trial for trial in self.known if trial.key not in settled}.values())

    @property
    def to_run(self) -> int:
        """Samples that the record lacks."""
        return max(0, self.samples - len(self.finished))

    def forecast_s(self, forecaster: Forecaster, slots: int) -> float:
        """Wall seconds of what is to run: ASHA stops most trials, so they are taken to cost `ASHA_SHARE` of a whole."""
        return self.to_run * ASHA_SHARE * forecaster.seconds(self.base, 1) / slots

    @property
    def best(self) -> TrialRecord | None:
        """See `best_of`."""
        return best_of(self.finished)

    @property
    def done(self) -> bool:
        """Whether the record has all of it."""
        return self.to_run == 0 and self.crowned

    @property
    def crowned(self) -> bool:
        """Whether the best trial's test error has been read, or there is no best trial yet."""
        return self.best is None or WINNER_METRIC in self.best.metrics


def make_search(base: Mapping[str, Any], samples: int, trials: Sequence[TrialRecord], fingerprint: str) -> Search:
    """The search over that base, with what the record has of it: the search's trials on the same data and base."""
    search = Search(Config(**{**base, **FIXED}), samples, fingerprint)
    return search.with_trials(trials)


def point(config: Config) -> dict[str, Any]:
    """A config's place in the search space."""
    return {name: getattr(config, name) for name in SPACE}


START: dict[str, Any] = point(Config(**FIXED)) | {"weight_decay": SPACE["weight_decay"].low}  # type: ignore[attr-defined]
"""Where a search starts: the report's own batch-norm config, so that what is found can be compared with it on the same
terms. It has no weight decay; the space's smallest is next to none."""
