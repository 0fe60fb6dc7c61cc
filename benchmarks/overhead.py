"""Orchestration alone: what Ray Tune, the recorder and our code cost around trials that only sleep.

    python -m benchmarks.overhead

Three measurements, all with the recorder on:

- 200 trials of one second, compared with the floor of 200 seconds divided by the slots,
- 10 to 5,000 trials without work: the driver's time and memory for each trial,
- the time from the command to the first trained batch.
"""

import sys
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from safetensors.numpy import save as to_safetensors

from benchmarks.machine import alone, save, spread
from benchmarks.timed import run_command, run_recorded
from sweeps.planning.resources import Resources
from trainable.config import Config
from trainable.files import WEIGHTS
from trainable.storage import TrialStorage
from trainable.trial import Environment, Epoch, TrialReport, TrialSpec
from trainable.tune_trainable import TuneTrainable, spec_of, tune_result

COUNTS = (10, 100, 1000, 5000)
SLEEP_TAG = "sleep_s"
"""The tag of a trial's spec that says how many seconds the trial sleeps."""
NOWHERE = Environment(device="cpu", device_name="", host="", python="", torch="")
"""What a sleeping trial reports to have run on; the driver's work is the same for every answer."""


class SleepTrial(TuneTrainable):
    """A trial whose epochs sleep and are reported one by one. Everything around them is as in a real trial."""

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the actor without importing torch."""
        self._begin(config)

    def step(self) -> dict[str, Any]:
        """Sleep for one epoch and report it."""
        seconds = self._sleep_s / self._epochs
        time.sleep(seconds)
        self._epoch += 1
        epoch = Epoch(self._epoch, seconds, {"train_loss": [1.0], "test_error": [0.5]})
        first, done = self._epoch == 1, self._epoch == self._epochs
        if done:
            self._files.write(WEIGHTS, to_safetensors({}))  # the recorder refuses a finished trial without weights
        return tune_result(TrialReport(epochs=(epoch,), done=done, environment=NOWHERE if first else None))

    def cleanup(self) -> None:
        """Nothing has to be saved."""

    def _begin(self, config: dict[str, Any]) -> None:
        spec = spec_of(config)
        self._sleep_s, self._epochs, self._epoch = float(spec.tags[SLEEP_TAG]), spec.config.epochs, 0
        self._files = TrialStorage(spec.experiment_folder, spec.key, spec.seeds)


def made_spec(index: int, epochs: int, folder: str, tags: dict[str, str] | None = None) -> TrialSpec:
    """A trial that nobody trains: its key is its number, and its data is not read."""
    return TrialSpec(
        key=f"{index:016x}",
        name=f"trial-{index}",
        config=Config(data="digits", epochs=epochs),
        seeds=(0,),
        fingerprint="none",
        data_dir=None,
        experiment_folder=folder,
        tags=tags or {},
    )


def run_sleeping(
    count: int, sleep_s: float, epochs: int = 1, address: str | None = None, processes: int = 0
) -> dict[str, float]:
    """Run `count` sleeping trials on the Ray at `address`, or on one of its own: see `Timed` for the results."""
    import ray
    from ray import cloudpickle

    from sweeps.running.cluster import connect

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have the packages, and no benchmarks
    slots = sum(node.cpus for node in connect(address))

    def specs(storage: str) -> list[TrialSpec]:
        return [made_spec(index, epochs, storage, {SLEEP_TAG: str(sleep_s)}) for index in range(count)]

    timed = run_recorded(specs, Resources(1, 0), SleepTrial, processes)
    ray.shutdown()
    return {"trials": count, "slots": slots, **asdict(timed)}


def to_first_batch() -> float:
    """Seconds from the start of the command to the first trained batch, in a sweep on digits."""
    start = time.time()
    swept = run_command("digits", "--studies", "tables", "--only", "7", "--epochs", "1")
    return min(end - seconds for trial in swept.epochs for end, seconds in trial) - start


def main(
    trials: Annotated[int, typer.Option(help="Trials of one second.")] = 200,
    counts: Annotated[str, typer.Option(help="Numbers of trials of no work.")] = ",".join(map(str, COUNTS)),
    repeats: Annotated[int, typer.Option(help="Repeats of the time to the first batch.")] = 3,
) -> None:
    """Measure the orchestration alone and write benchmarks/results/overhead-cpu.json."""
    first_batch_s = [to_first_batch() for _ in range(repeats)]
    one_second = alone("benchmarks.overhead:run_sleeping", count=trials, sleep_s=1.0) if trials else None
    no_work = [
        alone("benchmarks.overhead:run_sleeping", count=int(count), sleep_s=0.0) for count in counts.split(",") if count
    ]
    save("overhead", "cpu", {"one_second": one_second, "no_work": no_work, "first_batch_s": spread(first_batch_s)})


if __name__ == "__main__":
    typer.run(main)
