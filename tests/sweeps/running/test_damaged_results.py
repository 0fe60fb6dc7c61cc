"""Damaged results of a trial are never recorded, and are made again."""

import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load

from analysis.record.mlflow_record import Record
from sweeps.observer import TrialEnded, TrialReported, TrialStarted
from sweeps.planning.resources import Resources
from sweeps.planning.surface_plan import PlannedSurface
from sweeps.recording.recorder import Recorder
from sweeps.recording.tracking import ensure_experiment
from sweeps.running.specs import TrialContext
from sweeps.running.surface_tasks import SurfaceGrid, SurfaceTasks, compute_lines
from tests.analysis_records import TAGS, Recorded, sweep, table, trial
from tests.damage import CONFIG, flip, make_spec, storage_of, stored
from trainable.data import load as load_data
from trainable.files import WEIGHTS, entries_under
from trainable.session import Session
from trainable.storage import TrialStorage
from trainable.training import Trainer
from trainable.trial import TrialEnd, TrialReport


@pytest.mark.usefixtures("made_record")
def test_damaged_weights_are_not_recorded_and_the_next_sweep_makes_them_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client, experiment = ensure_experiment(uri, "test")
    spec = make_spec(tmp_path, report_at=())

    def record(report: TrialReport) -> bool:
        recorder = Recorder(client, experiment, name="sweep", tags={}, params={})
        recorder.tell(TrialStarted("1", spec))
        recorder.tell(TrialReported("1", report))
        recorder.tell(TrialEnded("1", TrialEnd.COMPLETE))
        return recorder.finish("FINISHED")

    report = Session(spec).advance(3600.0)
    expected = storage_of(spec).read(WEIGHTS)
    assert expected
    flip(stored(spec, WEIGHTS), 4 * len(expected))
    with caplog.at_level(logging.ERROR):
        assert not record(report)
    (said,) = caplog.messages
    assert said.startswith("a trial is not complete") and f"{WEIGHTS} does not match its SHA-256" in said
    assert not any(trial.complete for trial in Record(uri, "test").trials())
    assert record(Session(spec).advance(3600.0))
    (trial,) = [trial for trial in Record(uri, "test").trials() if trial.complete]
    recorded = Record(uri, "test").arrays(trial, WEIGHTS)
    assert all(np.array_equal(array, recorded[name]) for name, array in load(expected).items())


def test_a_surface_around_lost_weights_is_refused_before_anything_starts() -> None:
    each = trial("baseline", {0: [0.3]}, CONFIG, tags=TAGS | {"files": WEIGHTS})
    record: Any = Recorded([each], sweep(table()))
    tasks = SurfaceTasks(record, cast(Any, None), Resources(1), TrialContext("", None, ""), Console(quiet=True))
    said: list[str] = []
    tasks.compute([PlannedSurface(each)], lambda surface, error: said.append(f"{surface.trial.name}: {error}"))
    (line,) = said
    assert line.startswith("baseline: weights.safetensors of its run baseline is lost or damaged")


def test_a_damaged_line_of_a_surface_is_computed_again(tmp_path: Path) -> None:
    data = load_data("digits")
    weights = entries_under("seed_0/", {n: t.numpy() for n, t in Trainer(CONFIG, data).weights().items()})
    storage = TrialStorage(str(tmp_path), "surface", (0,))
    context = TrialContext(data.fingerprint, None, str(tmp_path))
    grid = SurfaceGrid(CONFIG, np.linspace(-1, 1, 3), 2000, storage, context, Resources(1))

    def line() -> tuple[list[float], str]:
        (computed,) = compute_lines(grid, weights, [0])
        return [*computed.loss, *computed.error, computed.images.item()], computed.warning

    first = line()
    assert first[1] == "" and line() == first
    file = next(tmp_path.rglob("grid-line-0"))
    flip(file, 8 * (file.stat().st_size - 4))
    numbers, warning = line()
    assert numbers == first[0] and "a line of a loss surface is computed again" in warning
    assert line() == first, "and is whole in the storage again"
