"""The runs of this project that benchmarks time: given trials with a recorder, or a whole command."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.record.recorded import RunStatus
from benchmarks.machine import sweep_command
from sweeps.planning.resources import Resources
from trainable.trial import TrialSpec
from trainable.tune_trainable import TuneTrainable


@dataclass(frozen=True)
class Timed:
    """What trials took, of a driver that is this process. Memory is what is resident."""

    trials_s: float
    """Wall time until the last trial ended."""
    recorder_rest_s: float
    """Wall time that the recorder needed after that."""
    driver_cpu_s: float
    memory_before_mib: float
    memory_after_mib: float


@dataclass(frozen=True)
class Swept:
    """What a sweep's record says of its times."""

    seconds: float
    """From the opening of its run, after Ray has started, to its end."""
    slots: int
    epochs: tuple[tuple[tuple[float, float], ...], ...]
    """By trial: when each epoch ended, in seconds since 1970, and how long it took."""


def run_recorded(
    specs: Callable[[str], Sequence[TrialSpec]],
    resources: Resources,
    trainable: type[TuneTrainable] = TuneTrainable,
    processes: int = 0,
) -> Timed:
    """Run trials on the Ray that this process is connected to, and record them in SQLite.

    `specs` makes them for a folder, which is their storage. `processes` are those of the recorder; 0 is this one.
    """
    from sweeps.recording.recorder import Recorder
    from sweeps.recording.tracking import ensure_experiment
    from sweeps.running.trials import Stage, run_trials

    with tempfile.TemporaryDirectory() as folder:
        client, experiment_id = ensure_experiment(f"sqlite:///{folder}/mlflow.db", "benchmark")
        recorder = Recorder(client, experiment_id, name="benchmark", tags={}, params={}, processes=processes)
        storage = f"{folder}/storage"
        made = specs(storage)
        assert recorder.flush()
        memory, cpu, start = _resident_mib(), time.process_time(), time.perf_counter()
        stage = Stage(name="benchmark", resources=resources, observers=[recorder], storage_path=storage)
        outcome = run_trials(made, stage, trainable)
        trials_s = time.perf_counter() - start
        assert recorder.finish(RunStatus.FINISHED)
        rest_s, cpu_s = time.perf_counter() - start - trials_s, time.process_time() - cpu
        assert (outcome.ended, outcome.failed) == (len(made), 0)
        return Timed(trials_s, rest_s, cpu_s, memory, _resident_mib())


def run_command(data: str, *arguments: str) -> Swept:
    """Run `sweeps/full.py` with these arguments in a folder of its own, on CPUs."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        command = sweep_command("--data", data, "--gpus-per-trial", "0", *arguments)
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        experiment = client.get_experiment_by_name(f"ablations-{data}")
        assert experiment, "the command has made it"
        runs = client.search_runs([experiment.experiment_id])
        sweep = next(run for run in runs if run.data.tags["role"] == "sweep")
        epochs = tuple(
            tuple((each.timestamp / 1000, each.value) for each in client.get_metric_history(run.info.run_id, "epoch_s"))
            for run in runs
            if run.data.tags["role"] == "trial"
        )
    seconds = (sweep.info.end_time - sweep.info.start_time) / 1000
    return Swept(seconds, int(sweep.data.params["slots"]), epochs)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
