"""The search for the best batch-norm configuration: Optuna suggests, ASHA stops what falls behind.

All of it is on protocol B: the validation error decides, and the test split is read once, for the winner. A search is
continued, not repeated: what the record has of it is told to Optuna, and interrupted trials are taken up first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from analysis.record import TrialRecord
from trainable.config import Config

STUDY = "search"
METRIC = "val_error"
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
REDUCTION = 3


@dataclass(frozen=True)
class Search:
    """A search and how far the record has it."""

    base: Config
    """What every suggestion shares."""
    samples: int
    known: Sequence[TrialRecord] = field(default=())
    """The record's trials of this search."""

    @property
    def finished(self) -> list[TrialRecord]:
        """The trials that ran to the end or were stopped by ASHA."""
        return [trial for trial in self.known if trial.status == "FINISHED"]

    @property
    def interrupted(self) -> list[TrialRecord]:
        """The trials that the search suggested and that nobody has finished since."""
        done = {trial.key for trial in self.finished}
        return list({trial.key: trial for trial in self.known if trial.key not in done}.values())

    @property
    def to_run(self) -> int:
        """Samples that the record lacks."""
        return max(0, self.samples - len(self.finished))

    @property
    def best(self) -> TrialRecord | None:
        """The complete trial with the lowest validation error at its last epoch."""
        complete = [trial for trial in self.finished if trial.complete]
        return min(complete, key=lambda trial: trial.metrics[METRIC][-1][1], default=None)


def make_search(base: Mapping[str, Any], samples: int, trials: Sequence[TrialRecord], fingerprint: str) -> Search:
    """The search over that base, with what the record has of it: the search's trials on the same data and base."""
    shared = Config(**{**base, **FIXED})
    known = [
        trial
        for trial in trials
        if trial.tags.get("study") == STUDY
        and trial.tags.get("data_fingerprint") == fingerprint
        and trial.config.change(**{name: getattr(shared, name) for name in SPACE}) == shared
    ]
    return Search(base=shared, samples=samples, known=known)


class TrialSearch(OptunaSearch):
    """Optuna's suggestions as trial specs; Optuna is told of a trial that ASHA stopped as pruned, not as complete."""

    def __init__(self, search: Search, make_spec: Callable[[Config, str], dict[str, Any]]) -> None:
        super().__init__(
            SPACE,
            metric=METRIC,
            mode="min",
            sampler=TPESampler(seed=len(search.known), multivariate=True, constant_liar=True),
            points_to_evaluate=[_point(trial.config) for trial in search.interrupted],
        )
        self._search, self._make_spec, self._suggested = search, make_spec, len(search.finished)
        for trial in search.finished:
            steps = trial.metrics[METRIC]
            told = create_trial(
                state=TrialState.COMPLETE if trial.complete else TrialState.PRUNED,
                value=steps[-1][1],
                params=_point(trial.config),
                distributions=SPACE,
                intermediate_values=dict(steps),
            )
            self._ot_study.add_trial(told)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next spec, named by its number in the search."""
        point = super().suggest(trial_id)
        if point is None:
            return None
        self._suggested += 1
        return {"trial": self._make_spec(self._search.base.change(**point), f"search-{self._suggested:03d}")}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Optuna's steps are epochs."""
        super().on_trial_result(trial_id, {**result, TRAINING_ITERATION: result["epoch"]})

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial without a result is pruned to Optuna, which then judges it by its reported steps."""
        ended = result is not None and result.get("epoch") == self._search.base.epochs
        super().on_trial_complete(trial_id, result if ended else None, error)


def make_scheduler(base: Config) -> ASHAScheduler:
    """ASHA over epochs: two thirds of the trials stop at each rung; the first rung leaves a few epochs to judge by."""
    grace = max(1, base.epochs // REDUCTION**2)
    return ASHAScheduler(
        time_attr="epoch", metric=METRIC, mode="min", max_t=base.epochs, grace_period=grace, reduction_factor=REDUCTION
    )


def _point(config: Config) -> dict[str, Any]:
    """A config's place in the search space."""
    return {name: getattr(config, name) for name in SPACE}
