"""The whole study as one command:

    python sweeps/full.py --address auto

It plans the chosen studies, runs what the record lacks and reports. Running it again is the resume.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn

if __name__ == "__main__":  # run by its path, as Ray jobs do: import the packages beside this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from analysis.commandline.start import start

    start()

import typer

from analysis.commandline.commands import command_line, run_command
from analysis.commandline.passwords import hide_passwords
from analysis.commandline.start import interrupt_once
from sweeps.planning.options import Options
from sweeps.planning.parse import DEFAULT_STUDIES, DEFAULTS, QUICK, parse
from sweeps.running.cluster import check_address
from sweeps.screen import output
from sweeps.studies.registry import STUDIES
from trainable.config import PRECISIONS
from trainable.errors import UsageError
from trainable.image_set import NAMES

STOPPED = "Stopped. What is finished is recorded, what is not goes on from its last checkpoint."
GO_ON = "To go on, run the same command again."

app = command_line()


def _default(name: str) -> str:
    return f"Default: {DEFAULTS[name]}; with --quick {QUICK[name]}."


@app.command()
def full(
    address: Annotated[
        str | None,
        typer.Option(help="Ray: auto, HOST:PORT, ray://HOST:PORT, or local. Default: $RAY_ADDRESS, else local."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The whole pipeline, small: for trying it.")] = False,
    data: Annotated[
        str | None,
        typer.Option(help=f"Data set: {', '.join(NAMES)}, or a name for the images in --data-dir. {_default('data')}"),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(
            help="Folder or s3:// URI of the data. Default for CIFAR-10: $CIFAR10_DIR, the user's cache, a download."
        ),
    ] = None,
    studies: Annotated[
        str | None,
        typer.Option(
            help=f"Studies to run, joined by commas: {', '.join(STUDIES)}. Default: {DEFAULT_STUDIES} with full.py, "
            "search with search.py, the four of batch norm with bn_study.py."
        ),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(help="A study of your own, YAML or Python. It runs alone, unless --studies names others too."),
    ] = None,
    only: Annotated[
        str,
        typer.Option(help="Only these table numbers, joined by commas. A search then runs only if --studies names it."),
    ] = "",
    epochs: Annotated[int | None, typer.Option(help=f"Epochs per training. {_default('epochs')}")] = None,
    seeds: Annotated[
        int, typer.Option(help="Seeds per table row: 3 trains 0, 1 and 2. More of them extend the record.")
    ] = 1,
    samples: Annotated[
        int | None, typer.Option(help=f"Trials of the search, recorded ones included. {_default('samples')}")
    ] = None,
    calibrate: Annotated[
        int | None,
        typer.Option(help="Train this many random configs of the search's space to their end, in place of the search."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Train one config alone, in the form of a search's best_bn.yaml.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field in every config.")
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            help="End the search's trials after a time with all slots at work (2h), money at --prices (12.50), or both "
            "(2h,12.50). Trials of earlier sweeps count, the race and the proof do not."
        ),
    ] = "",
    proof_seeds: Annotated[
        int | None,
        typer.Option(
            help="Seeds of the search's winner, and of the configuration it is compared with, on the whole train "
            f"split. {_default('proof_seeds')}"
        ),
    ] = None,
    difference_seeds: Annotated[
        int,
        typer.Option(help="Also train the winner with one of its changes undone at a time, for so many seeds."),
    ] = 0,
    precision: Annotated[
        str | None, typer.Option(help=f"Precision of every training: {', '.join(PRECISIONS)}. Default: fp32.")
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(help="GPUs per trial, a fraction to share one. Default: 0.25 if there are any, else 0."),
    ] = None,
    gpu_memory_per_trial: Annotated[
        float | None,
        typer.Option(help="GB of GPU memory a trial needs. Start each node with --resources '{\"gpu_memory_gb\": N}'."),
    ] = None,
    cpus_per_trial: Annotated[float, typer.Option(help="CPU cores per trial.")] = 1.0,
    slots: Annotated[
        int | None,
        typer.Option(
            help="The most trials at once; a cluster may start nodes for so many. Default: as many as its nodes hold."
        ),
    ] = None,
    prices: Annotated[
        str, typer.Option(help="Money per hour, for the forecast: gpu=PRICE,cpu=PRICE,head=PRICE, any of them.")
    ] = "",
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="MLflow server or store. Default: $MLFLOW_TRACKING_URI, else ./mlflow.db (SQLite)."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="MLflow experiment. Default: $MLFLOW_EXPERIMENT_NAME, else ablations-DATA.")
    ] = None,
    storage_path: Annotated[
        str | None,
        typer.Option(help="Checkpoints: a folder or URI that all nodes share. Default: ./sweep-storage."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The sweep's name in the record. Default: studies and time.")] = None,
    notify: Annotated[
        str | None,
        typer.Option(help="URL to which one JSON line is posted at a new best, at a failure and at the end."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and start nothing.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: one JSON object on standard output.")
    ] = False,
) -> None:
    """Run every ablation of the study that the record lacks, search for the best batch-norm model, and report."""
    if not sys.platform.startswith("linux"):
        raise UsageError(f"sweeps run on Linux, and this is {sys.platform}; on Windows WSL is a Linux")
    if as_json and not dry_run:
        raise UsageError("--json needs --dry-run")
    options = parse(
        quick=quick,
        studies=studies,
        study=study,
        only=only,
        config=config,
        budget=budget,
        change=change or [],
        address=address,
        data=data,
        data_dir=data_dir,
        epochs=epochs,
        seeds=seeds,
        samples=samples,
        calibrate=calibrate,
        proof_seeds=proof_seeds,
        difference_seeds=difference_seeds,
        precision=precision,
        gpus_per_trial=gpus_per_trial,
        gpu_memory_per_trial=gpu_memory_per_trial,
        cpus_per_trial=cpus_per_trial,
        slots=slots,
        prices=prices,
        tracking_uri=tracking_uri,
        experiment=experiment,
        storage_path=storage_path,
        name=name,
        notify=notify,
    )
    if slots and not options.address and not dry_run:
        raise UsageError(
            f"--slots {slots}: is for a cluster; give --address too, or --dry-run; taskset limits the cores of a local "
            "sweep"
        )
    if dry_run:
        _show_plan(options, as_json)
    else:
        raise typer.Exit(_sweep(options))


def _show_plan(options: Options, as_json: bool) -> None:
    from sweeps.planning.allocate import allocate_dry
    from sweeps.planning.forecast import make_forecast
    from sweeps.planning.prepare import prepare
    from sweeps.planning.show import print_plan
    from sweeps.planning.sweep_plan import plan_sweep

    check_address(options.address)
    prepared = prepare(options, dry=True)
    allocation = allocate_dry(prepared)
    forecast = make_forecast(prepared, plan_sweep(prepared, allocation), allocation)
    if as_json:
        print(forecast.as_json())
    else:
        print_plan(output(), forecast)


def _sweep(options: Options) -> int:
    """Run and report; returns the exit code: 130 after Ctrl-C, 1 where something failed or the record is incomplete."""
    from analysis.record.recorded import RunStatus
    from sweeps.planning.allocate import expected_allocation
    from sweeps.planning.prepare import prepare
    from sweeps.planning.sweep_plan import plan_sweep
    from sweeps.recording.tracking import named_failures
    from sweeps.running.complete_sweep import end_complete_sweep
    from sweeps.running.results import print_results

    check_address(options.address)
    progress = output(stderr=True)
    prepared = prepare(options, dry=False)
    plan = plan_sweep(prepared, expected_allocation(prepared))
    interrupt_once()
    try:
        if plan.complete and prepared.record:
            progress.print("Nothing to do: the record has it all.")
            with named_failures(options.tracking_uri):
                well = end_complete_sweep(options, prepared.record, progress)
                print_results(options, plan.tables.tables, plan.search, output())
            return 0 if well else 1
        from sweeps.running.sweep import run

        result = run(prepared, progress)
        if not result.undelivered:
            with named_failures(options.tracking_uri):
                print_results(options, result.plan.tables.tables, result.plan.search, output())
    except KeyboardInterrupt:  # not in the trials: before or after them, as in the winner's test or the report
        progress.print(STOPPED, GO_ON, soft_wrap=True)
        return 130
    if result.undelivered:
        progress.print(
            f"The record {hide_passwords(options.tracking_uri)} is incomplete: {hide_passwords(result.undelivered)}. "
            "The trials are kept.",
            style="red",
            soft_wrap=True,
        )
    if result.failed:
        progress.print(f"{result.failed} trial(s) failed.", style="red")
    if result.interrupted:
        progress.print(STOPPED, GO_ON, soft_wrap=True)
        return 130
    if result.status == RunStatus.FINISHED:
        return 0
    progress.print(GO_ON)
    return 1


def run_studies(names: Iterable[str], about: str) -> NoReturn:
    """Run the command with these studies, where its arguments name neither a study nor a config to train alone. `about`
    is what `--help` says of it."""
    app.registered_commands[0].help = about
    if not any(argument.startswith(("--studies", "--study", "--config")) for argument in sys.argv[1:]):
        sys.argv[1:1] = ["--studies", ",".join(names)]
    run_command(app)


if __name__ == "__main__":
    run_command(app)
