"""The live page: how far a sweep is, from a real record that grows, served by a real process to a real browser."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from playwright.sync_api import expect

from analysis.live.__main__ import app, live_page
from analysis.live.followed import FollowedRecord
from analysis.live.progress import SweepProgress, progress_of
from analysis.record import heartbeats
from analysis.record.mlflow_record import Record
from analysis.record.recorded import RunStatus, SweepRecord, TrialRecord, per_seed
from sweeps.fault import Fault
from sweeps.observer import TrialEnded, TrialReported, TrialStarted
from sweeps.recording.recorder import Recorder
from sweeps.recording.tracking import ensure_experiment
from tests.analysis_records import TAGS, resolved_row, sweep, trial
from tests.browser import open_tab
from tests.conftest import Command
from tests.specs import trial_spec
from trainable.config import Config
from trainable.files import WEIGHTS
from trainable.storage import TrialStorage
from trainable.study import ResolvedTable
from trainable.trial import Epoch, TrialEnd, TrialReport

EPOCHS = 4
PLAIN, HINGE, BIGGER = (
    Config(data="digits", epochs=EPOCHS, **change) for change in ({}, {"loss": "hinge"}, {"channels": (64, 128)})
)
NOW_S = 1100.0


def asked(number: str, seeds: int, **rows: Config) -> ResolvedTable:
    resolved = tuple(resolved_row(name, config) for name, config in rows.items())
    return ResolvedTable(
        study="tables", number=number, slug=number, title="T", varies="v", rows=resolved, seeds=seeds,
        reference=PLAIN.key("abc"),
    )  # fmt: skip


def trained(name: str, config: Config, seed: int, epochs: int = EPOCHS, *, sweep: str = "now") -> TrialRecord:
    """A trial that still runs, or has ended where it has all of its epochs."""
    numbers = range(1, epochs + 1)
    errors = [(epoch, 0.5 / epoch) for epoch in numbers]
    series = {
        "epoch_s": [(epoch, 10.0) for epoch in numbers], "test_error": errors, per_seed("test_error", seed): errors,
    }  # fmt: skip
    status, tags = (RunStatus.FINISHED, TAGS) if epochs == EPOCHS else (RunStatus.RUNNING, {})
    return trial(
        name, {}, config, seeds=(seed,), sweep=sweep, status=status, tags=tags, histories=series,
        run_id=f"{name}-{seed}-{sweep}",
    )  # fmt: skip


def progress(tables: list[ResolvedTable], trials: list[TrialRecord]) -> SweepProgress:
    """100 seconds after a sweep with these tables began."""
    running: SweepRecord = replace(sweep(*tables), run_id="now", status=RunStatus.RUNNING, start_time=1_000_000)
    return progress_of(running, trials, [], NOW_S)


def test_a_training_of_two_tables_counts_once_whichever_sweep_made_it() -> None:
    tables = [asked("3", 2, plain=PLAIN, hinge=HINGE), asked("4", 1, plain=PLAIN)]
    found = progress(tables, [trained("plain", PLAIN, 0, sweep="old"), trained("plain", PLAIN, 1, 2)])
    assert found.trained == {(PLAIN.key("abc"), 0)}
    assert found.missing == {(PLAIN.key("abc"), 1), (HINGE.key("abc"), 0), (HINGE.key("abc"), 1)}
    (plain, hinge), (again,) = (table.rows for table in found.tables)
    assert (plain.trained, plain.missing, [each.epoch for each in plain.running]) == ((0,), (1,), [2])
    assert (hinge.trained, hinge.missing, hinge.running) == ((), (0, 1), ())
    assert (again.trained, again.missing) == ((0,), ())


def test_a_record_that_does_not_say_how_many_seeds_were_asked_for_lacks_none() -> None:
    found = progress([asked("3", 0, plain=PLAIN)], [trained("plain", PLAIN, 7, sweep="old")])
    assert (found.trained, found.missing) == ({(PLAIN.key("abc"), 7)}, set())


def test_the_time_left_is_at_the_pace_of_the_sweep() -> None:
    """Two trainings at a time would have had 20 epochs of 10 s in 100 s: one with 2 epochs is a tenth of that."""
    tables = [asked("3", 2, plain=PLAIN, hinge=HINGE)]
    assert progress(tables, []).seconds_left is None, "nobody knows yet"
    left_of_plain, hinge = 2 * 10, 2 * EPOCHS * 10
    one = [trained("plain", PLAIN, 0, sweep="old"), trained("plain", PLAIN, 1, 2)]
    assert progress(tables, one).seconds_left == pytest.approx((left_of_plain + hinge) / (20 / 100))
    resumed = [*one, trained("plain", PLAIN, 1, 1, sweep="old")]
    assert progress(tables, resumed).seconds_left == pytest.approx((left_of_plain + hinge) / (10 / 100)), (
        "the first epoch was another sweep's"
    )


def test_a_network_that_has_not_begun_is_timed_by_its_arithmetic() -> None:
    plain, bigger = (
        progress([asked("3", 1, plain=PLAIN, other=other)], [trained("plain", PLAIN, 0, 2)]).seconds_left
        for other in (HINGE, BIGGER)
    )
    assert plain and bigger and bigger > 1.5 * plain


class Recording:
    """A sweep of a table with two rows, two seeds each, as it is written to a real record."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.uri = folder, f"sqlite:///{folder}/mlflow.db"
        self.client, self.experiment_id = ensure_experiment(self.uri, "e")
        self.recorder = self.start("the-sweep")

    def start(self, name: str) -> Recorder:
        tables = [asked("3", 2, plain=PLAIN, hinge=HINGE)]
        return Recorder(self.client, self.experiment_id, name=name, tags={}, params={}, tables=tables)

    def train(self, trial_id: str, config: Config, seed: int, *epochs: int) -> None:
        """Record that a trial has trained these epochs. It is complete where the last is among them."""
        spec = trial_spec(config, self.folder, "abc", name=trial_id, seeds=(seed,))
        TrialStorage(str(self.folder), spec.key, spec.seeds).write(WEIGHTS, b"weights")
        self.recorder.tell(TrialStarted(trial_id, spec))
        trained = tuple(
            Epoch(epoch, 0.5, {"train_loss": [1.0], "train_error": [0.1], "test_error": [0.8 / epoch]})
            for epoch in epochs
        )
        if trained:
            self.recorder.tell(TrialReported(trial_id, TrialReport(epochs=trained, done=EPOCHS in epochs)))
        if EPOCHS in epochs:
            self.recorder.tell(TrialEnded(trial_id, TrialEnd.COMPLETE))
        assert self.recorder.flush()


@pytest.fixture
def recording(made_record: None, tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def test_what_has_ended_is_read_once_and_what_runs_each_time(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.train("ended", PLAIN, 0, 1, 2, 3, 4)
    recording.train("running", PLAIN, 1, 1)
    followed = FollowedRecord(Record(recording.uri, "e"))
    followed.look()
    read: list[str] = []
    history = MlflowClient.get_metric_history

    def counted(client: MlflowClient, run_id: str, key: str) -> list[Metric]:
        read.append(run_id)
        return history(client, run_id, key)

    monkeypatch.setattr(MlflowClient, "get_metric_history", counted)
    recording.train("running", PLAIN, 1, 2)
    ended, running = followed.look().trials
    assert ended.histories["test_error"] == [(1, 0.8), (2, 0.4), (3, pytest.approx(0.8 / 3)), (4, 0.2)]
    assert running.histories["test_error"] == [(1, 0.8), (2, 0.4)]
    assert set(read) == {running.run_id}


def test_the_latest_sweep_is_followed_one_that_runs_before_one_that_has_ended(recording: Recording) -> None:
    followed = FollowedRecord(Record(recording.uri, "e"))
    later = recording.start("a-later-one")
    assert followed.look().sweep.name == "a-later-one"
    assert followed.look("the-sweep").sweep.name == "the-sweep"
    assert later.finish(RunStatus.FINISHED)
    assert followed.look().sweep.name == "the-sweep"
    assert recording.recorder.finish(RunStatus.KILLED)
    assert followed.look().sweep.name == "a-later-one"
    with pytest.raises(LookupError, match="no sweep 'another'"):
        followed.look("another")


def test_a_driver_without_a_heartbeat_is_told(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = FollowedRecord(Record(recording.uri, "e"))
    assert "The sweep has run for" in live_page(followed)
    monkeypatch.setattr(heartbeats, "SILENT_S", 0.0)
    assert "given no sign for minutes" in live_page(followed)
    recording.client.set_tag(recording.recorder.run_id, heartbeats.HEARTBEAT, "1")
    assert "given no sign for minutes" not in live_page(followed)


def test_the_page_says_what_failed_and_how_the_sweep_ended(recording: Recording) -> None:
    recording.train("plain", PLAIN, 0, 1)
    recording.recorder.tell(TrialEnded("plain", TrialEnd.FAILED, Fault("Failure # 1\nRuntimeError: <out of memory>")))
    assert recording.recorder.flush()
    followed = FollowedRecord(Record(recording.uri, "e"))
    page = live_page(followed)
    assert "RuntimeError: &lt;out of memory&gt;" in page and "1 failed" in page
    assert recording.recorder.finish(RunStatus.FAILED)
    assert "The sweep has ended, and something failed" in live_page(followed)


def test_a_finished_sweep_has_its_search_and_its_effects_on_the_page(swept: Path) -> None:
    page = live_page(FollowedRecord(Record(f"sqlite:///{swept}/mlflow.db", "ablations-digits")))
    assert "the record has all of it" in page
    for heading in ("Table 6. Optimizer", "Effects of the changes", "The search for the best batch-norm configuration"):
        assert f">{heading}</h" in page
    assert "5 configurations tried, of 5 at most" in page
    assert page.count("data:image/png;base64,") >= 3


@contextmanager
def served(recording: Recording) -> Iterator[str]:
    """The address of the page, served by a process of its own; Ctrl-C ends it."""
    command = [sys.executable, "-m", "analysis.live", "--tracking-uri", recording.uri, "--experiment", "e"]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        line = process.stdout.readline()
        address = re.search(r"http://localhost:\d+/", line)
        assert address, line
        yield address[0]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def answer(address: str, **headers: str) -> tuple[int, str]:
    """The status and the text that the server answers with."""
    try:
        with urlopen(Request(address, headers=headers), timeout=60) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.ui
def test_an_open_page_follows_the_sweep(recording: Recording) -> None:
    recording.train("plain", PLAIN, 0, 1)
    with ExitStack() as serving:
        address = serving.enter_context(served(recording))
        assert answer(f"{address}mlflow.db")[0] == 404
        assert answer(address, Host="elsewhere.example")[0] == 403
        with open_tab(address) as page:
            header = page.locator("header")
            expect(page.get_by_role("row", name="plain").first).to_contain_text("1 of 4")
            expect(header).to_contain_text("0 of 4 trainings are recorded")
            recording.train("plain", PLAIN, 0, 2, 3, 4)
            expect(header).to_contain_text("1 of 4 trainings are recorded")
            assert recording.recorder.finish(RunStatus.KILLED)
            expect(header).to_contain_text("The sweep was interrupted")
            serving.close()
            expect(page.get_by_role("alert")).to_contain_text("Not up to date")


def test_what_cannot_be_served_is_one_line(recording: Recording, here: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        uri = ("--tracking-uri", recording.uri)
        for arguments, problem in (
            ((*uri, "--experiment", "e", "--port", port), f"--port {port}: Address already in use"),
            ((*uri, "--experiment", "e", "--sweep", "x"), "--sweep 'x': not in experiment e of sqlite:///"),
            ((*uri, "--experiment", "other"), f"--experiment other: no sweep in {recording.uri}; experiments there: e"),
            (("--tracking-uri", "sqlite:///none.db"), "no record at sqlite:///none.db"),
        ):
            ended = here(*arguments, app=app)
            assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
            assert problem in ended.stderr
