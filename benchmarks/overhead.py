"""The orchestration alone: what Ray Tune, the recorder and our code cost around trials that only sleep.

    python -m benchmarks.overhead

200 trials of one second on the machine's slots, with the recorder on, against the floor (200 seconds over the slots);
10 to 5,000 trials of no work: driver seconds and memory a trial; the time from the command to the first trained batch.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import ROOT, alone, save, spread
from trainable.config import Config
from trainable.trial import TrialSpec
from trainable.tune_trainable import TuneTrainable

COUNTS = (10, 100, 1000, 5000)
SLEEP_TAG = "sleep_s"


class SleepTrial(TuneTrainable):
    """A trial whose epochs sleep and are reported one by one; everything around them is the real thing."""

    def setup(self, config: dict[str, Any]) -> None:
        """No torch: nothing is computed."""
        self._begin(config)

    def step(self) -> dict[str, Any]:
        """Sleep and report an epoch."""
        seconds = self._sleep_s / self._epochs
        time.sleep(seconds)
        self._epoch += 1
        epoch = {"number": self._epoch, "seconds": seconds, "metrics": {"train_loss": [1.0], "test_error": [0.5]}}
        done = self._epoch == self._epochs
        return {"epoch": self._epoch, "done": done, "epochs": [epoch], "environment": {"device": "cpu"}}

    def cleanup(self) -> None:
        """Nothing to keep."""

    def _begin(self, config: dict[str, Any]) -> None:
        spec = json.loads(config["trial"])
        self._sleep_s, self._epochs, self._epoch = float(spec["tags"][SLEEP_TAG]), spec["config"]["epochs"], 0


def run_sleeping(count: int, sleep_s: float, epochs: int = 1, address: str = "local") -> dict[str, float]:
    """Run that many sleeping trials in this process, on a local Ray or a cluster, with a recorder on a SQLite store.

    The driver's own cost is its processor time; the recorder's rest is what it writes after the last trial's end.
    Returns seconds of the wall, of the driver's processor time and of the recorder's rest, and resident MiB before Ray
    runs trials and at the end.
    """
    import ray

    from sweeps.planning.resources import Resources
    from sweeps.recording.recorder import Recorder
    from sweeps.recording.tracking import ensure_experiment
    from sweeps.running.cluster import connect
    from sweeps.running.trials import run_trials

    slots = sum(node.cpus for node in connect(address))
    folder = tempfile.mkdtemp()
    client, experiment_id = ensure_experiment(f"sqlite:///{folder}/mlflow.db", "overhead")
    recorder = Recorder(client, experiment_id, name="overhead", tags={}, params={}, tables=())
    config = Config(data="digits", epochs=epochs)
    specs = [
        TrialSpec(
            key=f"{place:016x}",
            name=f"trial-{place}",
            config=config,
            seeds=(0,),
            fingerprint="none",
            data_dir=None,
            storage_path=f"{folder}/storage",
            tags={SLEEP_TAG: str(sleep_s)},
        ).model_dump(mode="json")
        for place in range(count)
    ]
    memory, start, cpu = _resident_mib(), time.perf_counter(), time.process_time()
    outcome = run_trials(
        specs,
        resources=Resources(1, 0),
        observers=[recorder],
        storage_path=f"{folder}/storage",
        name="overhead",
        trainable=SleepTrial,
    )
    trials_s = time.perf_counter() - start
    assert recorder.finish("FINISHED")
    assert (outcome.ended, outcome.failed) == (count, 0)
    figures = {
        "trials": count,
        "slots": slots,
        "trials_s": trials_s,
        "recorder_rest_s": time.perf_counter() - start - trials_s,
        "driver_cpu_s": time.process_time() - cpu,
        "memory_before_mib": memory,
        "memory_after_mib": _resident_mib(),
        "memory_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    ray.shutdown()
    shutil.rmtree(folder)
    return figures


def to_first_batch() -> float:
    """Seconds from the command to the first trained batch of a sweep on digits."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "sweeps" / "full.py"), "--data", "digits", "--studies", "tables"]
        start = time.time()
        subprocess.run([*command, "--only", "7", "--epochs", "1"], cwd=folder, capture_output=True, check=True)
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        runs = client.search_runs([client.get_experiment_by_name("ablations-digits").experiment_id])
        begun = [
            metric.timestamp / 1000 - metric.value
            for run in runs
            for metric in client.get_metric_history(run.info.run_id, "epoch_s")
        ]
        return min(begun) - start


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(
    trials: Annotated[int, typer.Option(help="Trials of one second.")] = 200,
    counts: Annotated[str, typer.Option(help="Numbers of trials of no work.")] = ",".join(map(str, COUNTS)),
    repeats: Annotated[int, typer.Option(help="Repeats of the time to the first batch.")] = 3,
) -> None:
    """Measure the orchestration alone and write benchmarks/results/overhead-cpu.json."""
    begun = [to_first_batch() for _ in range(repeats)]
    seconds = alone("benchmarks.overhead:run_sleeping", count=trials, sleep_s=1.0) if trials else None
    idle = [
        alone("benchmarks.overhead:run_sleeping", count=int(count), sleep_s=0.0) for count in counts.split(",") if count
    ]
    save("overhead", "cpu", {"one_second": seconds, "no_work": idle, "first_batch_s": spread(begun)})


if __name__ == "__main__":
    typer.run(main)
