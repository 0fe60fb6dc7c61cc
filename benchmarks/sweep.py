"""Compares this project with a peer on the same sweep: trial-epochs per minute, and their ratio.

    python -m benchmarks.sweep --data-dir /data/cifar10
    python -m benchmarks.sweep --device cuda

Both train the baseline on the same data, evaluate it on both splits after each epoch and report that. On a CPU this
project does so in single precision and in bfloat16. Their runs alternate. The time is from handing the trials to Ray
until the last one has ended, with the start of actors. The peer is `benchmarks.peer`, with the fastest of several
settings, which are tried for one epoch: CPUs or shares of the GPU for a trial, and loader processes. It also runs with
its images as tensors in memory, to show how much of the difference is loading.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import DataDirOption, DataOption, DeviceOption, alone, save, spread
from benchmarks.timed import run_recorded
from sweeps.planning.resources import Resources
from trainable.config import Config, Precision
from trainable.trial import TrialSpec

Work = dict[str, Any]
"""What both are given: `trials`, `epochs`, `device`, `data` and `data_dir`."""
EPOCHS = {"cpu": 10, "cuda": 400}
"""Epochs of a trial, by device: so many that training takes ten times as long as the start of processes."""
PEER_EPOCHS = 5
"""The same for the peer, whose epochs are longer."""
PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32",)}
"""The precisions that this project is timed in, by device."""
TRIED_EPOCHS = {"cpu": 1, "cuda": 5}
"""For how long each of the peer's settings is tried."""
TRIES = 2
"""How often: the shorter time counts, because something else may slow the machine for a moment."""


def run_peer(work: Work, cpus: float, gpus: float, workers: int, preloaded: bool = False) -> float:
    """Seconds that the peer takes. `cpus` and `gpus` are those of one trial, `workers` its loader processes. With
    `preloaded` its images are tensors in memory."""
    import ray
    from ray import cloudpickle, tune

    from benchmarks import peer
    from sweeps.running.cluster import connect

    cloudpickle.register_pickle_by_value(peer)  # workers have the packages, and no benchmarks
    connect(None)
    with tempfile.TemporaryDirectory() as folder:
        threads = max(1, int(cpus))
        space = {name: work[name] for name in ("epochs", "device", "data", "data_dir")}
        tuner = tune.Tuner(
            tune.with_resources(peer.train_cifar, {"cpu": cpus, "gpu": gpus}),
            param_space={
                **space,
                "workers": workers,
                "threads": threads,
                "preloaded": preloaded,
                "trial": tune.grid_search([*_range(work)]),
            },
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        start = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - start
    assert not results.errors
    ray.shutdown()
    return seconds


def run_ours(work: Work, precision: Precision) -> float:
    """Seconds that this project takes. On a CPU each seed is a trial; on a GPU all are fused in one trial."""
    import ray

    from sweeps.running.cluster import connect
    from trainable.data import load

    connect(None)
    config = Config(data=work["data"], epochs=work["epochs"], precision=precision)
    fingerprint = load(work["data"], work["data_dir"]).fingerprint
    fused = work["device"] == "cuda"

    def specs(storage: str) -> list[TrialSpec]:
        return [
            TrialSpec(
                key=config.key(fingerprint),
                name="baseline",
                config=config,
                seeds=seeds,
                fingerprint=fingerprint,
                data_dir=work["data_dir"],
                experiment_folder=storage,
            )
            for seeds in ([tuple(_range(work))] if fused else [(seed,) for seed in _range(work)])
        ]

    timed = run_recorded(specs, Resources(1, float(fused)))
    ray.shutdown()
    return timed.trials_s + timed.recorder_rest_s


def _ratios(ours: dict[str, list[float]], peer: list[float]) -> dict[str, dict[str, Any]]:
    """How many times the peer's rate ours is, repeat by repeat, by precision."""
    return {
        precision: spread([fast / slow for slow, fast in zip(peer, rates, strict=True)])
        for precision, rates in ours.items()
    }


def _range(work: Work) -> range:
    return range(work["trials"])


def main(
    data: DataOption = "cifar10",
    data_dir: DataDirOption = None,
    trials: Annotated[int, typer.Option(help="Trials; seeds, on a GPU.")] = 4,
    epochs: Annotated[int | None, typer.Option(help="Epochs a trial; by default 10, on a GPU 400.")] = None,
    peer_epochs: Annotated[int, typer.Option(help="The peer's.")] = PEER_EPOCHS,
    repeats: Annotated[int, typer.Option(help="Interleaved repeats.")] = 3,
    device: DeviceOption = "cpu",
) -> None:
    """Compare the two and write benchmarks/results/sweep-DEVICE.json."""
    folder = str(Path(data_dir).absolute()) if data_dir else None
    epochs = epochs or EPOCHS[device]
    work = {"trials": trials, "epochs": epochs, "device": device, "data": data, "data_dir": folder}
    peer_work = work | {"epochs": peer_epochs}
    if device == "cuda":
        each = max(1, len(os.sched_getaffinity(0)) // trials)
        settings = [
            {"cpus": max(1, workers), "gpus": 1 / share, "workers": workers}
            for share in sorted({1, 2, trials})
            for workers in sorted({0, 1, each})
        ]
    else:
        settings = [{"cpus": cpus, "gpus": 0, "workers": workers} for cpus, workers in ((1, 0), (1, 1), (2, 0), (2, 2))]
    tried_work = work | {"epochs": TRIED_EPOCHS[device]}
    tried = [
        setting | {"seconds": min(alone("benchmarks.sweep:run_peer", work=tried_work, **setting) for _ in range(TRIES))}
        for setting in settings
    ]
    fastest = min(tried, key=lambda setting: setting["seconds"])
    best = {name: fastest[name] for name in ("cpus", "gpus", "workers")}
    peer: list[float] = []
    preloaded: list[float] = []
    ours: dict[str, list[float]] = {precision: [] for precision in PRECISIONS[device]}
    for _ in range(repeats):
        for rates, in_memory in ((peer, False), (preloaded, True)):
            seconds = alone("benchmarks.sweep:run_peer", work=peer_work, **best, preloaded=in_memory)
            rates.append(trials * peer_epochs * 60 / seconds)
        for precision, rates in ours.items():
            rates.append(trials * epochs * 60 / alone("benchmarks.sweep:run_ours", work=work, precision=precision))
    save(
        "sweep",
        device,
        {
            "work": {**work, "peer_epochs": peer_epochs, "data_dir": None},
            "peer_settings": tried,
            "peer_best": best,
            "peer_epochs_a_minute": spread(peer),
            "preloaded_epochs_a_minute": spread(preloaded),
            "ours_epochs_a_minute": {precision: spread(rates) for precision, rates in ours.items()},
            "ratio": _ratios(ours, peer),
            "ratio_to_preloaded": _ratios(ours, preloaded),
        },
    )


if __name__ == "__main__":
    typer.run(main)
