"""The search's two engines: Optuna's TPE suggests trials, ASHA stops those that fall behind."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from analysis.asha import REDUCTION, grace
from analysis.record import REFERENCE, VAL_ERROR
from sweeps.search import SPACE, START, STUDY, Search, point
from trainable.trial import TrialSpec

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TrialSearch(OptunaSearch):
    """Optuna's suggestions as trial specs; Optuna is told of a trial that ASHA stopped as pruned, not as complete."""

    def __init__(self, search: Search, spec: Mapping[str, Any]) -> None:
        """`spec` is a `TrialSpec`'s fields but for the key, name, config and tags."""
        points, known = ([point(trial.config) for trial in each] for each in (search.interrupted, search.known))
        super().__init__(
            SPACE,
            metric=VAL_ERROR,
            mode="min",
            sampler=TPESampler(seed=len(search.known), multivariate=True, constant_liar=True),
            points_to_evaluate=[*points, START] if START not in known else points,
        )
        self._search, self._spec = search, dict(spec)
        self._names = {trial.key: trial.name for trial in search.known}
        for trial in search.finished:
            steps = trial.metrics[VAL_ERROR]
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
        config = self._search.base.change(**values)
        key = config.key(self._search.fingerprint)
        name = self._names.setdefault(key, f"search-{len(self._names) + 1:03d}")
        tags = {"study": STUDY, "table": STUDY, "row": name} | ({REFERENCE: "yes"} if point(config) == START else {})
        return {"trial": TrialSpec(key=key, name=name, config=config, tags=tags, **self._spec).model_dump_json()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Optuna's steps are epochs."""
        super().on_trial_result(trial_id, {**result, TRAINING_ITERATION: result["epoch"]})

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial without a result is pruned to Optuna, which then judges it by its reported steps."""
        ended = result is not None and result.get("epoch") == self._search.base.epochs
        super().on_trial_complete(trial_id, result if ended else None, error)


def make_scheduler(search: Search) -> ASHAScheduler:
    """ASHA over epochs: two thirds of the trials stop at each rung; the first rung leaves a few epochs to judge by.

    The rungs hold what the record's trials of the search had reached there: Tune saves no rungs.
    """
    epochs = search.base.epochs
    scheduler = ASHAScheduler(
        time_attr="epoch",
        metric=VAL_ERROR,
        mode="min",
        max_t=epochs,
        grace_period=grace(epochs),
        reduction_factor=REDUCTION,
    )
    for milestone, reached in scheduler._brackets[0]._rungs:
        for trial in search.finished:
            for epoch, error in trial.metrics[VAL_ERROR]:
                if epoch == milestone:
                    reached[trial.key] = -error
    return scheduler
