"""Compares this project with a peer on the same sweep: trial-epochs per minute, and their ratio.

    python -m benchmarks.sweep --data-dir /data/cifar10
    python -m benchmarks.sweep --device cuda

Both train the baseline on the same data, evaluate it on both splits after each epoch and report that. On a CPU this
project does so in single precision and in bfloat16, the peer in single precision. Their runs alternate. The time is
from handing the trials to Ray until the last one has ended, with the start of actors. The peer is `benchmarks.peer`,
with the fastest of several settings, which are tried for one epoch: CPUs or shares of the GPU for a trial, and loader
processes.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import alone, save, spread
from trainable.config import Config, Precision
from trainable.trial import TrialSpec

Work = dict[str, Any]
"""What both are given: `trials`, `epochs`, `device`, `data` and `data_dir`."""
EPOCHS = {"cpu": 3, "cuda": 400}
"""Epochs of a trial, by device: so many that training takes several times as long as the start of processes."""
PEER_EPOCHS = {"cpu": 3, "cuda": 5}
"""The same for the peer, whose epochs on a GPU take seconds."""
PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32",)}
"""The precisions that this project is timed in, by device."""
TRIED_EPOCHS = {"cpu": 1, "cuda": 5}
"""For how long each of the peer's settings is tried."""


def run_peer(work: Work, cpus: float, gpus: float, workers: int) -> float:
    """Seconds that the peer takes. `cpus` and `gpus` are those of one trial, `workers` its loader processes."""
    import ray
    from ray import cloudpickle, tune

    from benchmarks import peer
    from sweeps.running.cluster import connect

    cloudpickle.register_pickle_by_value(peer)  # workers have the packages, and no benchmarks
    connect("local")
    with tempfile.TemporaryDirectory() as folder:
        threads = max(1, int(cpus))
        space = {name: work[name] for name in ("epochs", "device", "data", "data_dir")}
        tuner = tune.Tuner(
            tune.with_resources(peer.train_cifar, {"cpu": cpus, "gpu": gpus}),
            param_space={**space, "workers": workers, "threads": threads, "trial": tune.grid_search([*_range(work)])},
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

    from sweeps.planning.resources import Resources
    from sweeps.recording.recorder import Recorder
    from sweeps.recording.tracking import ensure_experiment
    from sweeps.running.cluster import connect
    from sweeps.running.trials import run_trials
    from trainable.data import load

    connect("local")
    config = Config(data=work["data"], epochs=work["epochs"], precision=precision)
    fingerprint = load(work["data"], work["data_dir"]).fingerprint
    fused = work["device"] == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        client, experiment_id = ensure_experiment(f"sqlite:///{folder}/mlflow.db", "benchmark")
        recorder = Recorder(client, experiment_id, name="benchmark", tags={}, params={}, tables=())
        specs = [
            TrialSpec(
                key=config.key(fingerprint),
                name="baseline",
                config=config,
                seeds=seeds,
                fingerprint=fingerprint,
                data_dir=work["data_dir"],
                storage_path=folder,
            )
            for seeds in ([tuple(_range(work))] if fused else [(seed,) for seed in _range(work)])
        ]
        start = time.perf_counter()
        outcome = run_trials(
            specs, resources=Resources(1, float(fused)), observers=[recorder], storage_path=folder, name="benchmark"
        )
        assert recorder.finish("FINISHED")
        seconds = time.perf_counter() - start
    assert (outcome.ended, outcome.failed) == (len(specs), 0)
    ray.shutdown()
    return seconds


def _range(work: Work) -> range:
    return range(work["trials"])


def main(
    data: Annotated[str, typer.Option(help="cifar10 or digits.")] = "cifar10",
    data_dir: Annotated[str | None, typer.Option(help="Folder of CIFAR-10.")] = None,
    trials: Annotated[int, typer.Option(help="Trials; seeds, on a GPU.")] = 4,
    epochs: Annotated[int | None, typer.Option(help="Epochs a trial; by default 3, on a GPU 400.")] = None,
    peer_epochs: Annotated[int | None, typer.Option(help="The peer's; by default 3, on a GPU 5.")] = None,
    repeats: Annotated[int, typer.Option(help="Interleaved repeats.")] = 3,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Compare the two and write benchmarks/results/sweep-DEVICE.json."""
    folder = str(Path(data_dir).absolute()) if data_dir else None
    epochs, peer_epochs = epochs or EPOCHS[device], peer_epochs or PEER_EPOCHS[device]
    work = {"trials": trials, "epochs": epochs, "device": device, "data": data, "data_dir": folder}
    peer_work = work | {"epochs": peer_epochs}
    if device == "cuda":
        settings = [{"cpus": 1, "gpus": 1 / share, "workers": workers} for share in (2, 4, 8) for workers in (0, 1)]
    else:
        settings = [{"cpus": cpus, "gpus": 0, "workers": workers} for cpus, workers in ((1, 0), (1, 1), (2, 0), (2, 2))]
    tried_work = work | {"epochs": TRIED_EPOCHS[device]}
    tried = [
        setting | {"seconds": alone("benchmarks.sweep:run_peer", work=tried_work, **setting)} for setting in settings
    ]
    fastest = min(tried, key=lambda setting: setting["seconds"])
    best = {name: fastest[name] for name in ("cpus", "gpus", "workers")}
    peer: list[float] = []
    ours: dict[str, list[float]] = {precision: [] for precision in PRECISIONS[device]}
    for _ in range(repeats):
        peer.append(trials * peer_epochs * 60 / alone("benchmarks.sweep:run_peer", work=peer_work, **best))
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
            "ours_epochs_a_minute": {precision: spread(rates) for precision, rates in ours.items()},
            "ratio": {
                precision: spread([fast / slow for slow, fast in zip(peer, rates, strict=True)])
                for precision, rates in ours.items()
            },
        },
    )


if __name__ == "__main__":
    typer.run(main)
