"""Moves the record: exports sweeps to a folder of plain files, and imports them into any tracking server.

python -m sweeps.transfer export record --experiment ablations-cifar10
python -m sweeps.transfer import record --tracking-uri http://server:5000
"""

if __name__ == "__main__":
    from analysis.commandline.start import start

    start()

import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated

import typer
from mlflow import MlflowClient

from analysis.commandline.commands import command_line, run_command
from analysis.commandline.folders import named_write_failures
from analysis.commandline.record_options import EXPERIMENT, TRACKING_URI, Experiment, TrackingUri
from analysis.record.arrays import LAYERS
from analysis.record.exported_arrays import SPLIT, select_arrays, split_traces
from analysis.record.exported_files import ORIGIN, damage, first_id
from analysis.record.exported_record import artifacts_folders, read_folder, sweep_folder, write_sweep
from analysis.record.mlflow_record import Record
from analysis.record.opening import RECORD_ERRORS, no_sweep, open_existing, open_record, unknown_sweep
from analysis.record.origin import export_origin, exported_origin
from analysis.record.recorded import ARRAYS_FOLDER, ROLE, Role, RunStatus, SweepRecord, TrialRecord
from analysis.record.unreadable import name_once
from analysis.writing.words import listed
from sweeps.errors import SweepError
from sweeps.planning.options import check_experiment
from sweeps.planning.parse import default_experiment
from sweeps.recording.imported_runs import import_sweep, import_trial
from sweeps.recording.listing import without_listings
from sweeps.recording.tracking import check_makeable, ensure_experiment, named_failures
from sweeps.recording.views import present
from sweeps.running.results import print_place
from sweeps.screen import output
from trainable.errors import UsageError, first_line
from trainable.measures import EXPORTED_FILES, RUNGS

ORPHANS = "without-sweep"
"""Name and id of the sweep that an export gives to trials without one."""

app = command_line(__doc__)


@app.command("export")
def export(
    folder: Path,
    sweep: Annotated[list[str] | None, typer.Option(help="Only the sweep of this name. Default: all.")] = None,
    models: Annotated[bool, typer.Option("--models", help="Also the trials' weights and images.")] = False,
    tracking_uri: TrackingUri = TRACKING_URI,
    experiment: Experiment = EXPERIMENT,
) -> None:
    """Write sweeps and their trials that have ended to a folder, with what the pictures of a report need.

    The pictures of searches and calibrations need errors alone, so their trials are written without arrays.
    """
    record = open_existing(tracking_uri, experiment)
    with named_failures(tracking_uri):
        recorded, trials = _with_orphans(record)
    if not recorded:
        raise no_sweep(tracking_uri, experiment)
    if unknown := set(sweep or ()) - {each.name for each in recorded}:
        raise unknown_sweep(min(unknown), tracking_uri, experiment)
    with named_write_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sweeps = [each for each in recorded if not sweep or each.name in sweep]
    selection = select_arrays(recorded, trials)
    drawn = {row.key for each in recorded for table in each.tables if table.measure != RUNGS for row in table.rows}
    with named_failures(tracking_uri):
        deleted = {run.data.tags.get(ORIGIN, run.info.run_id) for run in record.deleted_runs()}
        for chosen in sweeps:
            own = record.with_histories(without_listings(trial) for trial in trials if trial.sweep == chosen.run_id)
            origin = record.origin(chosen) if chosen.run_id != ORPHANS else {}
            first = replace(chosen, run_id=first_id(chosen))
            here = {first_id(trial): trial for trial in own}
            renamed = [replace(trial, run_id=run_id, sweep=first.run_id) for run_id, trial in here.items()]
            with named_write_failures(folder):
                exported = write_sweep(folder, first, renamed, deleted)
                export_origin(folder / sweep_folder(first), origin)
                artifacts = artifacts_folders([first], exported)
                for trial in exported:
                    if models or trial.key in drawn:
                        recorded_here = here[trial.run_id]
                        traces = None if models else selection.files(recorded_here)
                        _export_artifacts(record.client, recorded_here, folder / artifacts[trial.run_id], traces)
            typer.echo(f"{chosen.name}: {len(exported)} trials")


def _with_orphans(record: Record) -> tuple[list[SweepRecord], list[TrialRecord]]:
    """The sweeps and the trials that have ended. Trials whose sweep is deleted or unreadable have one of their own."""
    sweeps, trials = record.sweeps(), [trial for trial in record.trials() if trial.status != RunStatus.RUNNING]
    known = {sweep.run_id for sweep in sweeps}
    times = [trial.start_time for trial in trials if trial.sweep not in known]
    if times:
        sweeps.append(
            SweepRecord(
                run_id=ORPHANS,
                name=ORPHANS,
                start_time=min(times),
                status=RunStatus.KILLED,
                tags={ROLE: Role.SWEEP},
                params={},
                tables=(),
            )
        )
    return sweeps, [trial if trial.sweep in known else replace(trial, sweep=ORPHANS) for trial in trials]


def _export_artifacts(client: MlflowClient, trial: TrialRecord, target: Path, traces: Collection[str] | None) -> None:
    """Those of a trial's artifacts that a report reads, with these files of its traces; all of them where `traces` is
    None. Those that are lost or damaged are named. Raises `SweepError` where one cannot be fetched: its server may
    answer later."""
    arrays = target / ARRAYS_FOLDER
    read = [name for name in (*EXPORTED_FILES, LAYERS) if trial.has(name) and (traces or name not in SPLIT)]
    wanted = {f"{ARRAYS_FOLDER}/{name}" for name in (trial.files if traces is None else read)}
    there = set(_files(client, trial.run_id, "" if traces is None else ARRAYS_FOLDER))
    problems = {PurePath(path).name: "the file is lost" for path in wanted - there}
    for path in sorted(there if traces is None else wanted & there):
        with tempfile.TemporaryDirectory() as folder:  # where in it a file comes to lie depends on the server
            try:
                here = client.download_artifacts(trial.run_id, path, folder)
            except PermissionError as error:
                problems[PurePath(path).name] = first_line(error)
                continue
            except RECORD_ERRORS as error:
                raise SweepError(
                    f"{path} of {trial.name} cannot be fetched: {first_line(error)}; run the same command again"
                ) from error
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here, target / path)
    for file in arrays.glob("*"):
        if problem := damage(file):
            file.unlink()
            problems[file.name] = problem
    if traces is not None:
        split_traces(arrays, traces)
    name_once({f"{trial.run_id}/{path}": f"{path} of {trial.name}: {why}" for path, why in problems.items()})


def _files(client: MlflowClient, run_id: str, folder: str) -> Iterator[str]:
    """The paths of the artifacts of a run in that folder and in those below it; all of them for an empty one."""
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _files(client, run_id, entry.path)
        else:
            yield entry.path


@app.command("import")
def import_(
    folder: Path,
    tracking_uri: TrackingUri = TRACKING_URI,
    experiment: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_EXPERIMENT_NAME", help="MLflow experiment. Default: ablations-DATA, as of a sweep."
        ),
    ] = None,
) -> None:
    """Write a folder's sweeps into a tracking server or store."""
    try:
        sweeps, trials = read_folder(folder)
        artifacts = _artifacts(folder, sweeps, trials)
        origins = {sweep.run_id: exported_origin(folder / sweep_folder(sweep)) for sweep in sweeps}
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}: not an exported record: {first_line(error)}") from error
    experiment = experiment or _experiment_of(folder, trials)
    try:
        check_experiment(experiment)
    except ValueError as error:
        raise UsageError(f"--experiment {experiment}: {error}") from error
    if open_record(tracking_uri, experiment) is None:
        check_makeable(tracking_uri)
    try:
        client, experiment_id = ensure_experiment(tracking_uri, experiment)
        for sweep in sweeps:
            parent = import_sweep(client, experiment_id, sweep, origins[sweep.run_id])
            exported = [
                replace(trial, start_time=trial.start_time or sweep.start_time + index)  # an old export has no times
                for index, trial in enumerate(trial for trial in trials if trial.sweep == sweep.run_id)
            ]
            imported = sum(
                import_trial(client, experiment_id, trial, parent, artifacts[trial.run_id]) for trial in exported
            )
            typer.echo(f"{sweep.name}: {imported} trials imported, {len(exported) - imported} were there already")
        present(Record(tracking_uri, experiment)).write(client)
    except RECORD_ERRORS as error:
        raise SweepError(f"{tracking_uri}: the import stopped: {first_line(error)}; run it again to go on") from error
    print_place(tracking_uri, experiment, experiment_id, output())


def _experiment_of(folder: Path, trials: Sequence[TrialRecord]) -> str:
    """The experiment of sweeps on the data of these trials. Raises `UsageError` where they have not all the same."""
    names = sorted({trial.config.data.name for trial in trials})
    if len(names) != 1:
        found = f"its trainings are on {listed(names)}" if names else "it has no trainings"
        raise UsageError(f"{folder}: {found}: name the --experiment")
    return default_experiment(names[0])


def _artifacts(folder: Path, sweeps: Sequence[SweepRecord], trials: Sequence[TrialRecord]) -> dict[str, Path]:
    """The folders of the trials' artifacts by run id. Raises `ValueError` for a damaged file of arrays."""
    artifacts = {run_id: folder / path for run_id, path in artifacts_folders(sweeps, trials).items()}
    for each in artifacts.values():
        for file in sorted((each / ARRAYS_FOLDER).glob("*")):
            if problem := damage(file):
                raise ValueError(f"{file}: {problem}")
    return artifacts


if __name__ == "__main__":
    run_command(app)
