"""Runs trials on Ray: Tune schedules them, and what they report goes to observers."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from pyarrow import ArrowException
from ray import tune
from ray.exceptions import RayActorError
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import BasicVariantGenerator, Searcher
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from analysis.commandline.start import ignore_interrupts, restore_handler
from sweeps.errors import SweepError
from sweeps.fault import NO_FAULT, Fault, read_fault
from sweeps.observer import Observer, TrialEnded, TrialEvent, TrialReported, TrialRetried, TrialStarted
from sweeps.planning.resources import GPU_MEMORY, Resources
from trainable.errors import first_line
from trainable.storage import tune_folder
from trainable.trial import TrialEnd, TrialReport, TrialSpec
from trainable.tune_trainable import REPORT, SPEC, TuneTrainable, report_of, spec_of, tune_config

RETRIES = 4
"""How often in a row a trial is tried again without getting further. It goes on from its checkpoint. A lost worker or
node does not count once the trial has reported a new epoch, and a node that the platform takes back never counts."""
GIVEN_UP_ALIKE = 3
"""So many trials that were given up for the same fault of a node stop the experiment. A node that fails every trial at
once has always a free slot, and would spoil all that wait for the others."""


class GivenUp:
    """The trials that were given up for a fault of a node."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()

    def add(self, fault: Fault) -> None:
        """Count a trial that was given up."""
        if fault.of_node:
            self._reasons[fault.reason] += 1

    @property
    def alike(self) -> str:
        """The reason for which `GIVEN_UP_ALIKE` trials were given up; empty where there is none."""
        return next((reason for reason, count in self._reasons.items() if count >= GIVEN_UP_ALIKE), "")


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
    storage_fault: str = ""
    """What the storage said when it last failed a trial; empty once any trial has reported since."""
    given_up: GivenUp = field(default_factory=GivenUp)

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        """See `Observer`."""
        self.storage_fault = ""

    def trial_retried(self, trial_id: str, fault: Fault) -> None:
        """See `Observer`."""
        self.storage_fault = fault.of_storage or self.storage_fault

    def trial_ended(self, trial_id: str, end: TrialEnd, fault: Fault) -> None:
        """See `Observer`."""
        self.ended += end != TrialEnd.INTERRUPTED
        if end == TrialEnd.FAILED:
            self.failed += 1
            self.given_up.add(fault)
        self.cut |= end == TrialEnd.INTERRUPTED
        self.storage_fault = fault.of_storage or self.storage_fault

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
    """The most trials at the same time; None for as many as the nodes hold. Tune asks a growing cluster for so many
    slots at once: without a number, and with a searcher, it asks for one more at a time."""


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
    queue = _queue_beside_tune() if ray.util.client.ray.is_connected() else None
    events = _Events(_Direct(listeners) if queue is None else queue.put)
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
        with nullcontext() if queue is None else _drained(queue, listeners):
            tuner.fit()
        # Tune puts the former handler back where a signal has ended its loop; behind ray:// that runs elsewhere
        count.cut |= queue is None and signal.getsignal(signal.SIGINT) is interrupt
    except (ConnectionError, RayActorError) as error:
        raise SweepError(f"the connection to the Ray cluster broke: {first_line(error)}") from error
    except (OSError, EOFError, ArrowException) as error:  # Tune reads back files of its own that it could not write
        reason = count.storage_fault or f"Ray Tune cannot keep its files: {type(error).__name__}: {error}"
        raise _storage_error(stage.storage_path, reason) from error
    finally:
        restore_handler(interrupt)  # Tune leaves its own behind, which swallows the next Ctrl-C
    if count.interrupted:
        ignore_interrupts()
    if count.storage_fault:
        raise _storage_error(stage.storage_path, count.storage_fault)
    if reason := count.given_up.alike:
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


class _Events(tune.Callback, tune.Stopper):
    """Tune's callbacks as events.

    A storage that fails more than `RETRIES` times in a row, whichever the trials, stops the experiment: all others
    would fail, too. So does a node that spoils one trial after another: see `GIVEN_UP_ALIKE`.
    """

    def __init__(self, tell: Callable[[TrialEvent], None]) -> None:
        self._tell = tell
        self._running: set[str] = set()
        self._epochs: dict[str, int] = {}
        """How far each trial has come."""
        self._storage_faults = 0
        """In a row: no trial has reported in between."""
        self._given_up = GivenUp()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop one trial."""
        return False

    def stop_all(self) -> bool:
        """Whether to stop all trials."""
        return self._storage_faults > RETRIES or bool(self._given_up.alike)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._running.add(trial.trial_id)
        self._tell(TrialStarted(trial.trial_id, spec_of(trial.config)))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._storage_faults = 0
        report = report_of(result)
        if report.last.number > self._epochs.get(trial.trial_id, 0):
            self._epochs[trial.trial_id] = report.last.number
            trial.run_metadata.num_failures = 0  # Tune gives a trial up when this is above `RETRIES`
        self._tell(TrialReported(trial.trial_id, report))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ensure_started(iteration, trials, trial)
        fault = read_fault(trial.error_file)
        if fault.of_code:
            trial.run_metadata.num_failures = RETRIES  # so that this next try is the last one
        self._storage_faults += bool(fault.of_storage)
        self._tell(TrialRetried(trial.trial_id, fault))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        complete = trial.last_result.get("epoch") == spec_of(trial.config).config.epochs
        self._end(trial, TrialEnd.COMPLETE if complete else TrialEnd.STOPPED)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ensure_started(iteration, trials, trial)
        fault = read_fault(trial.error_file)
        self._storage_faults += bool(fault.of_storage)
        self._given_up.add(fault)
        self._end(trial, TrialEnd.FAILED, fault)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        for trial in trials:
            if trial.trial_id in self._running:  # Tune stopped it because it was told to end the loop
                self._end(trial, TrialEnd.INTERRUPTED)

    def _ensure_started(self, iteration: int, trials: list[Trial], trial: Trial) -> None:
        """Tell of a trial that no worker could prepare: Tune does not say that it started."""
        if trial.trial_id not in self._running:
            self.on_trial_start(iteration, trials, trial)

    def _end(self, trial: Trial, end: TrialEnd, fault: Fault = NO_FAULT) -> None:
        self._running.discard(trial.trial_id)
        for kept in (trial.metric_analysis, trial.metric_n_steps):
            kept.clear()  # 18 KiB of averages that nobody reads: Tune would keep them to the end of the sweep
        trial.last_result.pop(REPORT, None)
        self._tell(TrialEnded(trial.trial_id, end, fault))


class _Direct:
    """Tells observers in this process."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def __call__(self, event: TrialEvent) -> None:
        for observer in self._observers:
            observer.tell(event)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks into a state that nobody restores; observers hold threads and terminals."""
        return {}


def _queue_beside_tune() -> Queue:
    """With a ray:// address Tune's loop runs on the node of Ray's client server. Its events must not leave that node:
    another one may be taken back."""
    node = ray.get_runtime_context().get_node_id()
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)})


@contextmanager
def _drained(queue: Queue, observers: Sequence[Observer]) -> Iterator[None]:
    """Bring the events of a Tune that runs in the cluster here. Raises what kept them from coming, which ends Tune."""
    tell, over = _Direct(observers), threading.Event()

    def drain() -> None:
        try:
            while not (over.is_set() and queue.empty()):
                with suppress(Empty):
                    tell(queue.get(timeout=0.5))
        except BaseException:
            queue.shutdown(force=True)  # the next event cannot be put, and Tune does not train unrecorded
            raise

    with ThreadPoolExecutor(1, thread_name_prefix="events") as pool:
        drained = pool.submit(drain)
        try:
            yield
        finally:
            over.set()
            drained.result()
