"""The search's two engines: Optuna's TPE suggests trials, ASHA stops those that fall behind."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from sweeps.search import METRIC, SPACE, STUDY, Search, point
from trainable.config import Config
from trainable.storage import TrialSpec

REDUCTION = 3

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TrialSearch(OptunaSearch):
    """Optuna's suggestions as trial specs; Optuna is told of a trial that ASHA stopped as pruned, not as complete."""

    def __init__(self, search: Search, spec: Mapping[str, Any]) -> None:
        """`spec` is a `TrialSpec`'s fields but for the key, name, config and tags."""
        super().__init__(
            SPACE,
            metric=METRIC,
            mode="min",
            sampler=TPESampler(seed=len(search.known), multivariate=True, constant_liar=True),
            points_to_evaluate=[point(trial.config) for trial in search.interrupted],
        )
        self._search, self._spec, self._suggested = search, dict(spec), len(search.finished)
        for trial in search.finished:
            steps = trial.metrics[METRIC]
            told = create_trial(
                state=TrialState.COMPLETE if trial.complete else TrialState.PRUNED,
                value=steps[-1][1],
                params=point(trial.config),
                distributions=SPACE,
                intermediate_values=dict(steps),
            )
            self._ot_study.add_trial(told)  # type: ignore[attr-defined]  # set by the base class

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next spec, named by its number in the search."""
        values = super().suggest(trial_id)
        if values is None:
            return None
        self._suggested += 1
        name, config = f"search-{self._suggested:03d}", self._search.base.change(**values)
        tags = {"study": STUDY, "table": STUDY, "row": name}
        key = config.key(self._search.fingerprint)
        return {"trial": TrialSpec(key=key, name=name, config=config, tags=tags, **self._spec).model_dump(mode="json")}

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
