"""The search's two engines: Optuna's TPE suggests trials, ASHA stops those that fall behind."""

import random
import warnings
from statistics import fmean
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState, create_trial
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from analysis.record.recorded import REFERENCE, ROW, STUDY, TABLE, VAL_ERROR
from sweeps.planning.search_plan import SearchPlan
from sweeps.running.specs import TrialContext
from trainable.config import Config
from trainable.tune_trainable import report_of, tune_config

STARTUP_TRIALS = 5
"""Trials after which the sampler no longer draws at random. The start points count."""


class TrialSearch(OptunaSearch):
    """Optuna's suggestions as trial specs. Optuna is told of a trial that ASHA stopped as pruned, not as complete."""

    def __init__(self, plan: SearchPlan, context: TrialContext, sampler: BaseSampler | None = None) -> None:
        """`plan` knows the histories of the search's recorded trials, which are told to Optuna. The default sampler is
        `tpe`."""
        search = plan.search
        unfinished = [search.point(trial.config) for trial in plan.unfinished]
        known = [search.point(trial.config) for trial in plan.known]
        self._references = [search.start_values(point) for point in search.start if point.reference]
        super().__init__(
            search.suggest,
            metric=VAL_ERROR,
            mode="min",
            sampler=sampler or tpe(len(plan.known)),
            points_to_evaluate=[*unfinished, *(point for point in plan.start if point not in known)],
        )
        self._search, self._context, self._random = search, context, random.Random(len(plan.known))
        self._names = {trial.key: trial.name for trial in plan.known}
        self._budget_s, self._training_s = plan.budget_s, plan.training_s
        self._reported_s: dict[str, float] = {}
        self._live = set[str]()
        """Tune's ids of the trials that were suggested and have not ended."""
        self._keys: dict[str, str] = {}
        self._taken = set(plan.taken)
        self._untried = None if plan.untried is None else dict(plan.untried)
        for trial in plan.judged:
            steps, params = trial.histories[VAL_ERROR], search.point(trial.config)
            told = create_trial(
                state=TrialState.COMPLETE if trial.complete else TrialState.PRUNED,
                value=steps[-1][1],
                params=params,
                distributions={name: search.distributions[name] for name in params},
                intermediate_values=dict(steps),
            )
            self._ot_study.add_trial(told)  # type: ignore[attr-defined]  # set by the base class

    @property
    def _over(self) -> bool:
        """Whether it suggests nothing more: the budget is spent, or the whole space is tried."""
        return sum(self._training_s.values()) >= self._budget_s or self._untried == {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial for Tune, named by its number in the search. No config is suggested twice.

        It is `Searcher.FINISHED` where nothing more is suggested: Tune lets the running trials end. It is None, for
        which Tune asks again, where the running trials are likely to spend the budget.
        """
        if self._over:
            return Searcher.FINISHED  # type: ignore[return-value]  # as the base class documents
        if self._live and self._expected_s() >= self._budget_s:
            return None
        while True:
            values = super().suggest(trial_id)
            if values is None:
                return None
            config = self._search.config(values)
            key = self._key(config)
            if key not in self._taken:
                self._taken.add(key)
                if self._untried:
                    self._untried.pop(key, None)
                self._keys[trial_id] = key
                self._live.add(trial_id)
                return self._next_trial(config)
            self._ot_study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)  # type: ignore[attr-defined]
            if self._untried:  # near the end of a countable space samplers repeat themselves
                self._ot_study.enqueue_trial(  # type: ignore[attr-defined]
                    self._random.choice(list(self._untried.values()))
                )

    def _expected_s(self) -> float:
        """Slot seconds that all trials will have trained when the running ones have ended, if each of these takes as
        long as the mean of the others."""
        live = {self._keys[trial_id] for trial_id in self._live}
        ended = [seconds for key, seconds in self._training_s.items() if key not in live]
        mean = fmean(ended) if ended else 0.0
        return sum(ended) + sum(max(mean, self._training_s.get(key, 0.0)) for key in live)

    def _key(self, config: Config) -> str:
        return config.key(self._context.fingerprint)

    def _next_trial(self, config: Config) -> dict[str, Any]:
        search = self._search
        name = self._names.setdefault(self._key(config), f"{search.study}-{self._next_number():03d}")
        tags = self._tags(config, name)
        spec = self._context.spec(config, name=name, seeds=search.seeds, tags=tags, report_at=search.rungs)
        return tune_config(spec)

    def _next_number(self) -> int:
        numbers = [name.removeprefix(f"{self._search.study}-") for name in self._names.values()]
        return 1 + max((int(number) for number in numbers if number.isdigit()), default=0)

    def _tags(self, config: Config, name: str) -> dict[str, str]:
        reference = {REFERENCE: "yes"} if self._search.point(config) in self._references else {}
        return {STUDY: self._search.study, TABLE: self._search.study, ROW: name, **reference}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Optuna's steps are epochs. What the trial trains counts against the budget."""
        report, key = report_of(result), self._keys[trial_id]
        seconds = sum(epoch.seconds for epoch in report.epochs)
        if report.epochs[0].number > 1:  # else a process has started, and repeats what an earlier one had reported
            seconds += self._reported_s[trial_id]
        self._reported_s[trial_id] = seconds
        self._training_s[key] = max(self._training_s.get(key, 0.0), seconds)
        super().on_trial_result(trial_id, {**result, TRAINING_ITERATION: result["epoch"]})

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial that ends early is pruned to Optuna, which then judges it by its reported steps. Tune passes a
        trial's last result only here, and not to `on_trial_result`."""
        if result:
            self.on_trial_result(trial_id, result)
        self._live.discard(trial_id)
        ended = result is not None and result["epoch"] == self._search.base.epochs
        super().on_trial_complete(trial_id, result if ended else None, error)


def tpe(seed: int) -> TPESampler:
    """The sampler of a sweep's search."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of `group`, without which conditions are sampled apart
        return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True, constant_liar=True)


def make_scheduler(plan: SearchPlan) -> ASHAScheduler:
    """ASHA over epochs, as the search defines it.

    Its rungs start with what the record's trials of the search had reached there, because Tune saves no rungs.
    """
    search = plan.search
    scheduler = ASHAScheduler(
        time_attr="epoch",
        metric=VAL_ERROR,
        mode="min",
        max_t=search.base.epochs,
        grace_period=search.rungs[0],
        reduction_factor=search.scheduler.reduction,
    )
    for milestone, reached in scheduler._brackets[0]._rungs:
        for trial in plan.judged:
            for epoch, error in trial.histories[VAL_ERROR]:
                if epoch == milestone:
                    reached[trial.key] = -error
    return scheduler
