"""Writes the runs of an exported record into a tracking server, each of them once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from analysis.record.exported_arrays import SPLIT
from analysis.record.exported_files import ORIGIN, first_id
from analysis.record.origin import log_origin
from analysis.record.recorded import (
    ARRAYS_FOLDER,
    CHAMPION,
    FILES,
    PROVEN,
    REPORTED,
    RunStatus,
    SweepRecord,
    TrialRecord,
)
from analysis.record.unreadable import name_once, read_arrays
from sweeps.recording.datasets import dataset_inputs
from sweeps.recording.kernel_images import log_kernels
from sweeps.recording.recorder import log_studies
from sweeps.recording.tags import delete_tag
from sweeps.recording.trial_runs import config_params, log_arrays, now_ms
from trainable.errors import first_line
from trainable.files import WEIGHTS

IMAGES_FOLDER = "images"
"""Folder of a run's artifacts in which MLflow keeps logged pictures."""
UNFINISHED = "imported_unfinished"
"""Tag of an imported sweep that was still running when it was exported."""


def import_sweep(client: MlflowClient, experiment_id: str, sweep: SweepRecord, origin_files: Mapping[str, str]) -> str:
    """Write a sweep's run with `origin_files`, its texts on packages and changes to the code, where it is not there
    already. One that was exported while it ran gets its later tables and its end. Returns its id here."""
    origin = first_id(sweep)
    if known := _imported(client, experiment_id, origin):
        if UNFINISHED in client.get_run(known).data.tags and sweep.status != RunStatus.RUNNING:
            _write_sweep(client, known, sweep, origin_files)
            delete_tag(client, known, UNFINISHED)
        return known
    tags = {name: value for name, value in sweep.tags.items() if name != REPORTED}  # a report does not travel
    if sweep.status == RunStatus.RUNNING:
        tags[UNFINISHED] = "yes"
    run = client.create_run(experiment_id, sweep.start_time, {**tags, ORIGIN: origin}, sweep.name)
    with _whole(client, run.info.run_id) as run_id:
        client.log_batch(run_id, params=[Param(key, value) for key, value in sweep.params.items()])
        _write_sweep(client, run_id, sweep, origin_files)
    return run_id


def _write_sweep(client: MlflowClient, run_id: str, sweep: SweepRecord, origin_files: Mapping[str, str]) -> None:
    log_studies(client, run_id, sweep.tables, sweep.searches, sweep.study_file)
    log_origin(client, run_id, origin_files)
    client.set_terminated(run_id, RunStatus.KILLED if sweep.status == RunStatus.RUNNING else sweep.status)


def import_trial(client: MlflowClient, experiment_id: str, trial: TrialRecord, parent: str, artifacts: Path) -> bool:
    """Write a trial's run below the sweep's run `parent`, with its folder of artifacts. Returns whether it was missing.
    One that is there already gets the files that it lacks."""
    origin = first_id(trial)
    files = sorted((artifacts / ARRAYS_FOLDER).glob("*"))
    if known := _imported(client, experiment_id, origin):
        there = client.get_run(known).data.tags.get(FILES, "").split()
        if new := [file for file in files if file.name not in there]:  # an export with more of it than the last one
            log_arrays(client, known, new, there)
            if known != origin and WEIGHTS in [file.name for file in new]:  # now its model can be registered here
                for tag in filter(_of_a_model, trial.tags):
                    delete_tag(client, known, tag)
            _draw_kernels(client, known, trial, new)
        return False
    tags = {**_tags(trial, files), ORIGIN: origin, MLFLOW_PARENT_RUN_ID: parent}
    run = client.create_run(experiment_id, trial.start_time, tags, trial.name)
    with _whole(client, run.info.run_id) as run_id:
        client.log_batch(run_id, params=config_params(trial.config))
        client.log_inputs(run_id, datasets=dataset_inputs(trial.config, trial.fingerprint or "unknown", None))
        now = now_ms()
        metrics = [Metric(name, value, now, step) for name, series in trial.histories.items() for step, value in series]
        client.log_batch(run_id, metrics=metrics)
        if artifacts.is_dir():
            client.log_artifacts(run_id, str(artifacts))
        if not (artifacts / IMAGES_FOLDER).is_dir():
            _draw_kernels(client, run_id, trial, files)
        client.set_terminated(run_id, trial.status)
    return True


def _tags(trial: TrialRecord, files: Sequence[Path]) -> dict[str, str]:
    """The tags of an imported trial. A registered model does not travel. Where the weights do, a winner is not marked
    as recorded, so that the next sweep registers its model here."""
    names = [file.name for file in files]
    kept = {tag: value for tag, value in trial.tags.items() if WEIGHTS not in names or not _of_a_model(tag)}
    return {**kept, FILES: " ".join(names)}


def _of_a_model(tag: str) -> bool:
    """Whether a trial's tag says that a model of its config is registered."""
    return tag == CHAMPION or tag.startswith(PROVEN)


def _draw_kernels(client: MlflowClient, run_id: str, trial: TrialRecord, files: Iterable[Path]) -> None:
    """The pictures that the UI shows of a trial's kernels, where the files have them: those that a sweep logs are
    exported only with its models. Files of another form are named: they may come from anybody."""
    for file in files:
        if file.name in SPLIT:
            try:
                log_kernels(client, run_id, read_arrays(file, trial.name), trial.config.epochs)
            except ValueError as error:
                name_once({f"kernels/{run_id}": f"the kernels in {file.name} of {trial.name}: {first_line(error)}"})


@contextmanager
def _whole(client: MlflowClient, run_id: str) -> Iterator[str]:
    """Delete a run that is not written to its end: it would stay among those that are running."""
    try:
        yield run_id
    except BaseException:
        with suppress(Exception):  # a server that is gone; the next import deletes it
            client.delete_run(run_id)
        raise


def _imported(client: MlflowClient, experiment_id: str, origin: str) -> str | None:
    """The id here of the run whose id was `origin` where it was recorded; None where it is not here.

    Deletes what a killed import left half made.
    """
    known = list(client.search_runs([experiment_id], f"attributes.run_id = '{origin}'"))
    for run in client.search_runs([experiment_id], f"tags.{ORIGIN} = '{origin}'"):
        if run.info.status == RunStatus.RUNNING:
            client.delete_run(run.info.run_id)
        else:
            known.append(run)
    return known[0].info.run_id if known else None
