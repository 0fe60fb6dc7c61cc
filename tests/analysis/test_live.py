"""The live page: of a real record that grows, served by a real process, in a real browser."""

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from playwright.sync_api import expect

from analysis.live import __main__ as command
from analysis.live import server
from analysis.live.__main__ import live_page
from analysis.live.followed import FollowedRecord
from analysis.live.server import page_server
from analysis.record import heartbeats
from analysis.record.mlflow_record import Record
from analysis.record.recorded import RunStatus
from analysis.report_data import ReportData
from benchmarks.clusters import wait_for
from sweeps.fault import Fault
from sweeps.observer import TrialEnded, TrialReported, TrialStarted
from sweeps.recording.recorder import Recorder
from sweeps.recording.tracking import ensure_experiment
from tests.browser import open_tab
from tests.conftest import ROOT, Command
from tests.live_records import EPOCHS, HINGE, PLAIN, asked
from tests.specs import trial_spec
from trainable.config import Config
from trainable.files import WEIGHTS
from trainable.storage import TrialStorage
from trainable.trial import Epoch, TrialEnd, TrialReport


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


def test_effects_against_what_an_earlier_sweep_has_trained_are_shown(recording: Recording) -> None:
    recording.train("reference", PLAIN, 0, 1, 2, 3, 4)
    recording.train("hinge", HINGE, 0, 1, 2, 3, 4)
    recording.recorder.finish(RunStatus.FINISHED)
    tables = [asked("3", 1, hinge=HINGE)]
    Recorder(recording.client, recording.experiment_id, name="of the change", tags={}, params={}, tables=tables)
    moment = FollowedRecord(Record(recording.uri, "e")).look()
    (effect,) = ReportData(moment, recording.folder / "page").effects
    assert (effect.against, effect.differences) == ("baseline", (0.0,))


def test_the_latest_sweep_is_followed_one_that_runs_before_one_that_has_ended(recording: Recording) -> None:
    followed = FollowedRecord(Record(recording.uri, "e"))
    later = recording.start("a-later-one")
    assert followed.look().sweep.name == "a-later-one"
    assert followed.look().others == ["the-sweep"]
    assert followed.look("the-sweep").sweep.name == "the-sweep"
    assert later.finish(RunStatus.FINISHED)
    assert followed.look().sweep.name == "the-sweep"
    assert recording.recorder.finish(RunStatus.KILLED)
    assert followed.look().sweep.name == "a-later-one"
    with pytest.raises(LookupError, match="no sweep 'another'"):
        followed.look("another")


def test_a_driver_without_a_heartbeat_is_told(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    recording.train("plain", PLAIN, 0, 1)
    followed = FollowedRecord(Record(recording.uri, "e"))
    page = live_page(followed)
    assert "The sweep has run for" in page and "At the pace so far the others take" in page
    monkeypatch.setattr(heartbeats, "SILENT_S", 0.0)
    page = live_page(followed)
    assert "given no sign for minutes" in page
    assert "At the pace" not in page and ">running<" not in page.partition("<main>")[0], "nobody trains"
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


def answer(address: str, **headers: str) -> tuple[int, str]:
    """The status and the text that a server answers with."""
    try:
        with urlopen(Request(address, headers=headers), timeout=60) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_the_command_serves_one_page_to_this_machine_until_ctrl_c(recording: Recording) -> None:
    asked_for = ["--tracking-uri", recording.uri, "--experiment", "e", "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "analysis.live", *asked_for], cwd=ROOT, stdout=pipe, stderr=pipe, text=True
    ) as process:
        assert process.stdout and process.stderr
        try:
            line = process.stdout.readline()
            address = re.search(r"http://localhost:\d+/", line)
            assert address, line + process.stderr.read()
            status, page = answer(address[0])
            assert status == 200 and "0 of 4 trainings are recorded" in page
            assert answer(f"{address[0]}mlflow.db")[0] == 404
            for host in ("elsewhere.example", "["):
                assert answer(address[0], Host=host)[0] == 403
            process.send_signal(signal.SIGINT)
            assert (process.stderr.read(), process.wait(30)) == ("", 130)
        finally:
            process.kill()


@contextmanager
def serving(make: Callable[[], str]) -> Iterator[str]:
    """The address of a page that is served by a thread."""
    with page_server(make, 0) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


def test_a_record_that_does_not_answer_is_said_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = ["http://me:secret@server does not answer"]

    def make() -> str:
        if problems:
            raise OSError(problems.pop())
        return "the page"

    monkeypatch.setattr(server, "LEAST_PAUSE_S", 0.5)
    with serving(make) as address:
        assert answer(address) == (503, "http://me:***@server does not answer")
        assert answer(address)[0] == 503, "not at once"
        wait_for("the page", lambda: answer(address) == (200, "the page"), 30)
    assert "secret" not in capsys.readouterr().err


@pytest.mark.ui
def test_an_open_page_follows_the_sweep(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "REFRESH_S", 0.5)
    monkeypatch.setattr(server, "LEAST_PAUSE_S", 0.1)
    monkeypatch.setattr(server, "PAUSE_FACTOR", 0)
    recording.train("plain", PLAIN, 0, 1)
    followed = FollowedRecord(Record(recording.uri, "e"))
    with ExitStack() as serves:
        address = serves.enter_context(serving(lambda: live_page(followed)))
        with open_tab(address) as page:
            header = page.locator("header")
            expect(page.get_by_role("row", name="plain").first).to_contain_text("1 of 4")
            expect(header).to_contain_text("0 of 4 trainings are recorded")
            recording.train("plain", PLAIN, 0, 2, 3, 4)
            expect(header).to_contain_text("1 of 4 trainings are recorded")
            assert recording.recorder.finish(RunStatus.KILLED)
            expect(header).to_contain_text("The sweep was interrupted")
            serves.close()
            expect(page.get_by_role("alert")).to_contain_text("This page is not up to date")


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
            ended = here(*arguments, app=command.app)
            assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
            assert problem in ended.stderr
