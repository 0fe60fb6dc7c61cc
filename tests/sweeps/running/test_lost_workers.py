"""What Tune tells of workers that die, hang or cannot even prepare their trial. Their epochs only count."""

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle
from rich.console import Console

from analysis.commandline import start
from analysis.record.trial_errors import last_error
from benchmarks.overhead import NOWHERE
from sweeps.errors import SweepError
from sweeps.fault import Fault
from sweeps.observer import Observer
from sweeps.planning.resources import Resources
from sweeps.recording.sweep_report import say_failure
from sweeps.running import cluster, trials
from sweeps.running.trials import Stage, run_trials
from tests.specs import trial_spec
from trainable.config import Config
from trainable.errors import DataError
from trainable.storage import StorageError
from trainable.trial import Epoch, TrialEnd, TrialReport, TrialSpec
from trainable.tune_trainable import TuneTrainable, spec_of, tune_config

RETRIES, EPOCHS = 1, 3


class Counting(TuneTrainable):
    """Trains nothing. A file counts the epochs, as a checkpoint would, and another the processes."""

    FIRST_STEP_S = 4.0

    def setup(self, config: dict[str, Any]) -> None:
        self._begin(config)

    def cleanup(self) -> None:
        pass

    def _begin(self, config: dict[str, Any]) -> None:
        self._longest_s, self._spec = None, spec_of(config)
        self._folder, self._own_epochs = Path(self._spec.experiment_folder), 0
        self._add("processes")
        self._session = self

    def advance(self, budget_s: float) -> TrialReport:
        self._own_epochs += 1
        epoch = self._add("epochs")
        first = NOWHERE if self._own_epochs == 1 else None
        metrics = {"train_loss": [1.0], "test_error": [0.5]}
        return TrialReport(epochs=(Epoch(epoch, 0.1, metrics),), done=epoch == EPOCHS, environment=first)

    def _add(self, name: str) -> int:
        file = self._folder / name
        count = 1 + int(file.read_text() if file.exists() else 0)
        file.write_text(str(count))
        return count


class DyingAfterEachEpoch(Counting):
    def step(self) -> dict[str, Any]:
        if self._own_epochs:
            os._exit(1)
        return super().step()


class HangingOnce(Counting):
    def advance(self, budget_s: float) -> TrialReport:
        if (self._folder / "processes").read_text() == "1":
            time.sleep(1000)
        return super().advance(budget_s)


class Unprepared(Counting):
    def _begin(self, config: dict[str, Any]) -> None:
        raise OSError("no data on this node")


class UnpreparedOnce(Counting):
    """Cannot be prepared for its second trial, once."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        self._add("actors")

    def _begin(self, config: dict[str, Any]) -> None:
        super()._begin(config)
        self._session = None  # type: ignore[assignment]

    def _prepare(self) -> Any:
        if self._add("prepared") == 2:
            raise OSError("the data is not there for a moment")
        return self

    def advance(self, budget_s: float) -> TrialReport:
        """Counts its own epochs, not those of the trial before."""
        report = super().advance(budget_s)
        epoch = Epoch(self._own_epochs, 0.1, report.last.metrics)
        return TrialReport(epochs=(epoch,), done=epoch.number == EPOCHS, environment=report.environment)


class WithoutData(Counting):
    """On a node with other data; every second trial has another node. A `DeviceError` would be the same to the driver,
    but each worker would import torch for it, for many seconds."""

    def advance(self, budget_s: float) -> TrialReport:
        if self._spec.seeds[0] % 2:
            return super().advance(budget_s)
        raise DataError("node7: the data here has another fingerprint")


class WithoutDisk(Counting):
    def advance(self, budget_s: float) -> TrialReport:
        raise StorageError("DISK cannot be written: it is full")


class Story(Observer):
    """What an observer was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.errors: list[str] = []

    def trial_started(self, trial_id: str, spec: TrialSpec) -> None:
        self.told.append("started")

    def trial_retried(self, trial_id: str, fault: Fault) -> None:
        self.told.append("retried")
        self.errors.append(fault.text)

    def trial_ended(self, trial_id: str, end: TrialEnd, fault: Fault) -> None:
        self.told.append(end)
        self.errors.append(fault.text)


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    cluster.connect(None)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have the packages, and not the tests
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "RETRIES", RETRIES)  # a worker takes seconds to start
        yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    ray.shutdown()


def story_of(
    trainable: type[Counting], folder: Path, trials: int = 1, story: Story | None = None, cpus: float = 1
) -> Story:
    config = Config(data="digits", epochs=EPOCHS)
    specs = [trial_spec(config, folder, seeds=(seed,)) for seed in range(trials)]
    story = story or Story()
    stage = Stage(name="t", resources=Resources(cpus), observers=[story], storage_path=str(folder))
    run_trials(specs, stage, trainable)
    return story


def test_of_an_error_of_several_lines_the_one_that_names_it_is_shown() -> None:
    text = (
        "Traceback:\n  File x\nRuntimeError: CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA` to see more."
    )
    assert last_error(text) == "RuntimeError: CUDA error: out of memory"
    assert (last_error("killed"), last_error("")) == ("killed", "no reason given")
    assert last_error("KeyError: 'x'\n\nDuring handling:\n\nNotImplementedError") == "NotImplementedError"
    assert last_error(f"Failure # 1 (occurred at noon)\n{text}\nFailure # 2 (occurred at one)\nkilled") == "killed"


@pytest.mark.parametrize(
    ("error", "of_code", "of_node"),
    [
        ("KeyError: 'x'", True, False),
        ("ModuleNotFoundError: No module named 'x'", True, False),
        ("pydantic_core._pydantic_core.ValidationError: 1 validation error for Config", True, False),
        ("trainable.sources.DamagedFileError: weights.safetensors", False, False),
        ("RuntimeError: CUDA error: out of memory", False, False),
        ("The actor died because its node has died.", False, False),
        ("trainable.device.DeviceError: node7: torch cannot use the GPU", False, True),
        ("trainable.errors.DataError: /data has other data", False, True),
    ],
)
def test_an_error_of_the_code_or_of_a_node_is_told_apart(error: str, of_code: bool, of_node: bool) -> None:
    fault = Fault(f"Traceback:\n  File x\n{error}")
    assert (fault.of_code, fault.of_node) == (of_code, of_node)


def test_what_fails_after_the_trials_is_said_with_its_error() -> None:
    said = StringIO()
    console = Console(file=said, width=200)
    say_failure(console, "no report", RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`."))
    say_failure(console, "no report", StopIteration())
    first, second = said.getvalue().splitlines()
    assert first.startswith("no report: RuntimeError: CUDA error: out of memory;")
    assert second.startswith("no report: StopIteration;")


@pytest.mark.reliability
@pytest.mark.usefixtures("local_ray")
def test_losses_with_progress_in_between_never_use_up_the_retries(tmp_path: Path) -> None:
    story = story_of(DyingAfterEachEpoch, tmp_path)
    assert story.told.count("retried") == EPOCHS - 1 > RETRIES, "each loss is one"
    assert story.told[-1] == TrialEnd.COMPLETE


@pytest.mark.reliability
@pytest.mark.usefixtures("local_ray")
def test_a_worker_that_hangs_is_ended_and_its_trial_goes_on(tmp_path: Path) -> None:
    story = story_of(HangingOnce, tmp_path)
    assert story.told.count("retried") == 1
    assert story.told[-1] == TrialEnd.COMPLETE


def test_a_later_step_may_take_many_times_as_long_as_the_longest_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = list[float]()
    spec = trial_spec(Config(data="digits", epochs=EPOCHS), tmp_path)
    actor = Counting(tune_config(spec))
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda limit_s, **_: limits.append(limit_s))
    monkeypatch.setattr(Counting, "_add", lambda *_: time.sleep(0.1) or 1)
    for step_s in (600.0, 600.0, 1.0):
        monkeypatch.setattr(Counting, "STEP_S", step_s)
        actor.step()
    assert limits[:2] == [Counting.FIRST_STEP_S, 600.0]
    assert 2.0 <= limits[2] < 10.0, "twenty times a tenth of a second"
    actor.reset_config(tune_config(spec.model_copy(update={"slowest_epoch_s": 5000.0})))
    actor.step()
    assert limits[3] == 5000.0, "a first epoch that takes hours has not hung"


@pytest.mark.reliability
@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_no_worker_can_prepare_has_a_beginning_and_a_reason(tmp_path: Path) -> None:
    story = story_of(Unprepared, tmp_path)
    assert story.told == ["started", "retried", TrialEnd.FAILED]
    assert "no data on this node" in story.errors[-1].splitlines()[-1]


@pytest.mark.reliability
@pytest.mark.usefixtures("local_ray")
def test_a_trial_is_tried_again_where_a_reused_worker_cannot_prepare_it(tmp_path: Path) -> None:
    story = story_of(UnpreparedOnce, tmp_path, trials=2, cpus=ray.cluster_resources()["CPU"])
    assert (tmp_path / "actors").read_text() == "2", "the first one, and one for the next try"
    assert story.told.count("retried") == 1 and "not there for a moment" in story.errors[-2]
    assert [end for end in story.told if isinstance(end, TrialEnd)] == [TrialEnd.COMPLETE] * 2


class Interrupting(Story):
    """Presses Ctrl-C at the first report."""

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        if "reported" not in self.told:
            os.kill(os.getpid(), signal.SIGINT)
        self.told.append("reported")


@pytest.mark.usefixtures("local_ray")
def test_a_second_interrupt_does_not_disturb_what_the_first_has_set_going(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, start._interrupt)
    try:
        story = story_of(Counting, tmp_path, trials=2, story=Interrupting())
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)  # the signal is handled by now, and nothing was raised
    finally:
        signal.signal(signal.SIGINT, before)
    assert TrialEnd.INTERRUPTED in story.told


@pytest.mark.reliability
@pytest.mark.usefixtures("local_ray")
def test_a_node_that_spoils_one_trial_after_another_ends_the_sweep_and_is_named(tmp_path: Path) -> None:
    story, count = Story(), 10
    with pytest.raises(SweepError, match=r"3 trials were given up .*: trainable\.errors\.DataError: node7: the"):
        story_of(WithoutData, tmp_path, count, story)
    ends = [each for each in story.told if isinstance(each, TrialEnd)]
    assert 3 <= ends.count(TrialEnd.FAILED) < count / 2, "the others wait for a node that works"
    assert TrialEnd.COMPLETE in ends, "trials that report in between do not hide it"


@pytest.mark.usefixtures("local_ray")
def test_a_storage_that_fails_ends_the_sweep_and_is_named(tmp_path: Path) -> None:
    story, count = Story(), 20
    with pytest.raises(
        SweepError, match=f"the storage {tmp_path} fails: DISK cannot be written: it is full; free space"
    ):
        story_of(WithoutDisk, tmp_path, count, story)
    assert RETRIES < story.told.count("retried") < count / 2, "all others would fail, too"
