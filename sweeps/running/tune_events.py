"""Ray Tune's callbacks as events, and their way to the observers in the driver."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.fault import NO_FAULT, Fault, read_fault
from sweeps.observer import Observer, TrialEnded, TrialEvent, TrialReported, TrialRetried, TrialStarted
from trainable.trial import TrialEnd, TrialSpec
from trainable.tune_trainable import REPORT, report_of, spec_of

RETRIES = 4
"""How often in a row a trial is tried again without getting further. It goes on from its checkpoint. A lost worker or
node does not count once the trial has reported a new epoch, and a node that the platform takes back never counts."""
GIVEN_UP_ALIKE = 3
"""So many trials that were given up for the same fault of a node stop the experiment. A node that fails every trial at
once has always a free slot, and would spoil all that wait for the others."""


class Faults:
    """The faults of trials that would spoil others, too: those of the storage and of a node."""

    def __init__(self) -> None:
        self.of_storage_in_a_row = 0
        """Since a trial has reported."""
        self.of_storage = ""
        """What the storage said when it last failed a trial; empty once any trial has reported since."""
        self._given_up: Counter[str] = Counter()

    def reported(self) -> None:
        """A trial has reported."""
        self.of_storage_in_a_row, self.of_storage = 0, ""

    def add(self, fault: Fault, *, given_up: bool) -> None:
        """A trial has failed, and is tried again or given up."""
        if fault.of_storage:
            self.of_storage_in_a_row, self.of_storage = self.of_storage_in_a_row + 1, fault.of_storage
        if given_up and fault.of_node:
            self._given_up[fault.reason] += 1

    @property
    def alike(self) -> str:
        """The reason for which `GIVEN_UP_ALIKE` trials were given up; empty where there is none."""
        return next((reason for reason, count in self._given_up.items() if count >= GIVEN_UP_ALIKE), "")


class TuneEvents(tune.Callback, tune.Stopper):
    """Tune's callbacks as events.

    A storage that fails more than `RETRIES` times in a row, whichever the trials, stops the experiment: all others
    would fail, too. So does a node that spoils one trial after another: see `GIVEN_UP_ALIKE`.
    """

    def __init__(self, tell: Callable[[TrialEvent], None]) -> None:
        self._tell = tell
        self._running: dict[str, TrialSpec] = {}
        self._epochs: dict[str, int] = {}
        """How far each trial has come."""
        self._faults = Faults()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop one trial."""
        return False

    def stop_all(self) -> bool:
        """Whether to stop all trials."""
        return self._faults.of_storage_in_a_row > RETRIES or bool(self._faults.alike)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        spec = self._running.get(trial.trial_id) or spec_of(trial.config)
        self._running[trial.trial_id] = spec
        self._tell(TrialStarted(trial.trial_id, spec))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._faults.reported()
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
        self._faults.add(fault, given_up=False)
        self._tell(TrialRetried(trial.trial_id, fault))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ensure_started(iteration, trials, trial)
        complete = trial.last_result.get("epoch") == self._running[trial.trial_id].config.epochs
        self._end(trial, TrialEnd.COMPLETE if complete else TrialEnd.STOPPED)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ensure_started(iteration, trials, trial)
        fault = read_fault(trial.error_file)
        self._faults.add(fault, given_up=True)
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
        self._running.pop(trial.trial_id, None)
        for kept in (trial.metric_analysis, trial.metric_n_steps):
            kept.clear()  # 18 KiB of averages that nobody reads: Tune would keep them to the end of the sweep
        trial.last_result.pop(REPORT, None)
        self._tell(TrialEnded(trial.trial_id, end, fault))


class Direct:
    """Tells observers in this process."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def __call__(self, event: TrialEvent) -> None:
        for observer in self._observers:
            observer.tell(event)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks into a state that nobody restores; observers hold threads and terminals."""
        return {}


def queue_beside_tune() -> Queue:
    """With a ray:// address Tune's loop runs on the node of Ray's client server. Its events must not leave that node:
    another one may be taken back."""
    node = ray.get_runtime_context().get_node_id()
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)})


@contextmanager
def draining(queue: Queue, observers: Sequence[Observer]) -> Iterator[None]:
    """Bring the events of a Tune that runs in the cluster here. Raises what kept them from coming, which ends Tune."""
    tell, over = Direct(observers), threading.Event()

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
