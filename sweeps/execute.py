"""Runs planned trials on Ray: Tune schedules them, and what it says goes to the recorder and to the display."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # nothing reads them: MLflow is the record
os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # the display says them, in a line each
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")  # Tune's own state is not what a sweep resumes from

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from sweeps.cluster import Resources
from trainable.tune_trainable import TuneTrainable

RETRIES = 4
"""Times that a trial is tried again after its actor or node was lost; it goes on from its checkpoint."""


class Observer(Protocol):
    """What a recorder and a display have in common. `spec` is a `TrialSpec` as plain values."""

    def trial_started(self, trial_id: str, spec: Mapping[str, Any]) -> None:
        """A trial was handed to an actor, for the first time or again."""

    def trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """A trial reported epochs."""

    def trial_ended(self, trial_id: str, outcome: str, error: str) -> None:
        """A trial is over: `complete`, `stopped` by the scheduler, `interrupted`, or `failed`."""


@dataclass
class Outcome:
    """How a run of trials ended."""

    failed: int = 0
    """Trials given up."""
    interrupted: bool = False
    undelivered: bool = False
    """Whether some of it could not be written to the record."""

    def and_then(self, later: "Outcome") -> "Outcome":
        """Both runs as one."""
        return Outcome(self.failed + later.failed, later.interrupted, later.undelivered)


def run_trials(
    specs: Sequence[dict[str, Any]],
    *,
    resources: Resources,
    observers: Sequence[Observer],
    storage_path: str,
    name: str,
) -> Outcome:
    """Run every spec to its last epoch, in the order given."""
    return _fit({"trial": tune.grid_search(list(specs))}, tune.TuneConfig(), resources, observers, storage_path, name)


def run_search(
    searcher: Searcher,
    scheduler: TrialScheduler,
    samples: int,
    *,
    resources: Resources,
    observers: Sequence[Observer],
    storage_path: str,
    name: str,
) -> Outcome:
    """Run that many of a searcher's suggestions under a scheduler that may stop them early."""
    config = tune.TuneConfig(search_alg=searcher, scheduler=scheduler, num_samples=samples)
    return _fit({}, config, resources, observers, storage_path, name)


def _fit(
    space: dict[str, Any],
    config: tune.TuneConfig,
    resources: Resources,
    observers: Sequence[Observer],
    storage_path: str,
    name: str,
) -> Outcome:
    config.reuse_actors = True
    config.trial_name_creator = config.trial_dirname_creator = lambda trial: trial.trial_id
    outcome = Outcome()
    tuner = tune.Tuner(
        tune.with_resources(TuneTrainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        param_space=space,
        tune_config=config,
        run_config=tune.RunConfig(
            name=name,
            storage_path=f"{storage_path}/tune",
            callbacks=[_Events(observers, outcome)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the trainable keeps its own
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            verbose=0,
        ),
    )
    tuner.fit()
    return outcome


class _Events(tune.Callback):
    """Tune's callbacks, told to the observers. Runs in Tune's loop: nothing here may wait."""

    def __init__(self, observers: Sequence[Observer], outcome: Outcome) -> None:
        self._observers, self._outcome = observers, outcome

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks into a state that nobody restores; observers hold threads and terminals."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        for observer in self._observers:
            observer.trial_started(trial.trial_id, trial.config["trial"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        for observer in self._observers:
            observer.trial_result(trial.trial_id, result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        ended = trial.last_result.get("epoch") == trial.config["trial"]["config"]["epochs"]
        self._tell_end(trial, "complete" if ended else "stopped")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._outcome.failed += 1
        self._tell_end(trial, "failed", str(trial.get_error() or ""))

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        for trial in trials:
            if trial.status not in (Trial.TERMINATED, Trial.ERROR):
                self._outcome.interrupted = True
                self._tell_end(trial, "interrupted")

    def _tell_end(self, trial: Trial, outcome: str, error: str = "") -> None:
        for observer in self._observers:
            observer.trial_ended(trial.trial_id, outcome, error)
