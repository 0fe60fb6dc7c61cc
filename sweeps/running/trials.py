"""Runs trials on Ray: Tune schedules them, and what they report goes to observers."""

import signal
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import ray
from pyarrow import ArrowException
from ray import tune
from ray.exceptions import RayActorError
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import BasicVariantGenerator, Searcher

from analysis.commandline.start import ignore_interrupts, restore_handler
from sweeps.errors import SweepError
from sweeps.fault import Fault
from sweeps.observer import Observer
from sweeps.planning.resources import GPU_MEMORY, Resources
from sweeps.running.trainable_registry import remembered_trainables
from sweeps.running.tune_events import GIVEN_UP_ALIKE, RETRIES, Direct, Faults, TuneEvents, draining, queue_beside_tune
from trainable.errors import first_line
from trainable.storage import tune_folder
from trainable.trial import TrialEnd, TrialReport, TrialSpec
from trainable.tune_trainable import SPEC, TuneTrainable, tune_config


@dataclass
class TrialCount(Observer):
    """How many trials ended, and how."""

    expected: int = 0
    """Trials to run; 0 where that is not known before."""
    ended: int = 0
    """Trials that ran to their end, were stopped by the scheduler, or were given up."""
    failed: int = 0
    """Trials given up."""
    cut: bool = False
    """Whether a signal has ended the loop, or a running trial was interrupted."""
    faults: Faults = field(default_factory=Faults)

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        """See `Observer`."""
        self.faults.reported()

    def trial_retried(self, trial_id: str, fault: Fault) -> None:
        """See `Observer`."""
        self.faults.add(fault, given_up=False)

    def trial_ended(self, trial_id: str, end: TrialEnd, fault: Fault) -> None:
        """See `Observer`."""
        self.ended += end != TrialEnd.INTERRUPTED
        if end == TrialEnd.FAILED:
            self.failed += 1
            self.faults.add(fault, given_up=True)
        self.cut |= end == TrialEnd.INTERRUPTED

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped before all trials had ended."""
        return self.cut or self.ended < self.expected


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of Ray Tune, a part of a sweep."""

    name: str
    resources: Resources
    """Of each trial."""
    observers: Sequence[Observer]
    """They are told what the trials report."""
    storage_path: str
    at_once: int | None = None
    """The most trials at the same time; None for as many as the nodes hold. Without a number, and with a searcher, Tune
    starts a trial, or asks a growing cluster for its slot, only when the one before it has started."""


def run_trials(specs: Sequence[TrialSpec], stage: Stage, trainable: type[TuneTrainable] = TuneTrainable) -> TrialCount:
    """Run every spec to its last epoch, in the order given. Raises `SweepError` where the storage fails, and where one
    trial after another is given up for the same fault of a node."""
    # a grid of specs would do the same, but Tune copies a grid whole for every trial in it: 5,000 take hours
    in_order = BasicVariantGenerator(
        points_to_evaluate=[tune_config(spec) for spec in specs], max_concurrent=stage.at_once or 0
    )
    config = tune.TuneConfig(search_alg=in_order, num_samples=len(specs))
    return _fit(stage, trainable, config, {SPEC: ""}, TrialCount(expected=len(specs)))


def run_search(searcher: Searcher, scheduler: TrialScheduler, samples: int, stage: Stage) -> TrialCount:
    """Run that many of a searcher's suggestions, or all of them if they are fewer, under a scheduler that may stop them
    early. Raises `SweepError` as `run_trials` does."""
    config = tune.TuneConfig(
        search_alg=searcher, scheduler=scheduler, num_samples=samples, max_concurrent_trials=stage.at_once
    )
    return _fit(stage, TuneTrainable, config, {}, TrialCount())


def _fit(
    stage: Stage, trainable: type[TuneTrainable], config: tune.TuneConfig, space: dict[str, Any], count: TrialCount
) -> TrialCount:
    """Run Tune to its end. Returns `count`, which has followed it."""
    config.reuse_actors = True
    config.trial_name_creator = config.trial_dirname_creator = _id_of
    resources, listeners = stage.resources, [count, *stage.observers]
    queue = queue_beside_tune() if ray.util.client.ray.is_connected() else None
    events = TuneEvents(Direct(listeners) if queue is None else queue.put)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        tuner = tune.Tuner(
            tune.with_resources(
                trainable, {"cpu": resources.cpus, "gpu": resources.gpus, GPU_MEMORY: resources.gpu_memory_gb}
            ),
            param_space=space,
            tune_config=config,
            run_config=tune.RunConfig(
                name=stage.name,
                storage_path=tune_folder(stage.storage_path),
                stop=events,
                callbacks=[events],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the trainable keeps its own
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                verbose=0,
            ),
        )
        with remembered_trainables(), nullcontext() if queue is None else draining(queue, listeners):
            tuner.fit()
        # Tune puts the former handler back where a signal has ended its loop; behind ray:// that runs elsewhere
        count.cut |= queue is None and signal.getsignal(signal.SIGINT) is interrupt
    except (ConnectionError, RayActorError) as error:
        raise SweepError(f"the connection to the Ray cluster broke: {first_line(error)}") from error
    except (OSError, EOFError, ArrowException) as error:  # Tune reads back files of its own that it could not write
        reason = count.faults.of_storage or f"Ray Tune cannot keep its files: {type(error).__name__}: {error}"
        raise _storage_error(stage.storage_path, reason) from error
    finally:
        restore_handler(interrupt)  # Tune leaves its own behind, which swallows the next Ctrl-C
    if count.interrupted:
        ignore_interrupts()
    if reason := count.faults.of_storage:
        raise _storage_error(stage.storage_path, reason)
    if reason := count.faults.alike:
        raise SweepError(
            f"{GIVEN_UP_ALIKE} trials were given up for the same reason: {reason}; mend that, or take the node out of "
            "the cluster, and run the same command again: what is recorded is kept"
        )
    return count


def _id_of(trial: Trial) -> str:
    return trial.trial_id


def _storage_error(storage_path: str, reason: str) -> SweepError:
    return SweepError(
        f"the storage {storage_path} fails: {reason}; free space there, or name another --storage-path, and run the "
        "same command again: what is recorded is kept"
    )
