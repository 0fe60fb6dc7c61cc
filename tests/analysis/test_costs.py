"""What a record's trials took, and what it keeps of the code of its sweeps."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.costs import spent
from analysis.prices import Prices, parse_prices
from analysis.record import recorded
from analysis.record.exported_record import ExportedRecord, sweep_folder
from analysis.record.mlflow_record import Record
from analysis.record.origin import CHANGES, PACKAGES
from analysis.record.recorded import SweepRecord, TrialRecord
from analysis.report import write_report
from analysis.report_data import ReportData
from sweeps.fault import Fault
from sweeps.observer import TrialEnded, TrialReported, TrialStarted
from sweeps.recording.recorder import Recorder
from sweeps.recording.tracking import ensure_experiment
from sweeps.transfer import export, import_
from tests.analysis_records import TAGS, Recorded, sweep, table, trial
from tests.specs import trial_spec
from trainable.config import Config
from trainable.trial import Epoch, TrialEnd, TrialReport

SLOTS = {recorded.CPUS_PER_TRIAL: "2", recorded.GPUS_PER_TRIAL: "0", recorded.SLOTS: "4"}
ORIGIN = {PACKAGES: "torch==2.15.0\n", CHANGES: "-old\n+new\n"}


def run(name: str, config: Config, seconds: list[float], *, status: str = "FINISHED", **changes: object) -> TrialRecord:
    """A trial whose epochs took these seconds."""
    end = {"FINISHED": "complete", "FAILED": "failed"}.get(status)
    tags = {tag: value for tag, value in TAGS.items() if tag != "outcome"} | ({"outcome": end} if end else {})
    made = trial(name, {0: [0.5] * len(seconds)}, config, status=status, tags=tags)
    histories = made.histories | {"epoch_s": list(enumerate(seconds, start=1))}
    return replace(made, histories=histories, **changes)  # type: ignore[arg-type]


def priced_sweep(**params: str) -> SweepRecord:
    return replace(sweep(table()), params=params)


def test_epochs_taken_over_from_a_checkpoint_count_once() -> None:
    """The interrupted trial had saved two of its three epochs."""
    trials = [
        run("first", Config(), [10.0, 11.0, 12.0], status="KILLED"),
        run("resumed", Config(), [10.0, 11.0, 13.0, 14.0]),
        run("failed", Config(loss="hinge"), [20.0], status="FAILED"),
        run("elsewhere", Config(lr=0.5), [30.0]),
        run("running", Config(lr=0.5), [5.0], status="RUNNING"),
    ]
    prices = Prices(cpu=3.0, head=4.0)
    first, other = spent([table()], trials, [priced_sweep(**SLOTS)], prices)
    assert (first.epochs, first.seconds, first.lost_s) == (6, 10 + 11 + 12 + 13 + 14 + 20, 12 + 20)
    assert first.outcomes == {"complete": 1, "failed": 1, "interrupted": 1}
    assert first.money == pytest.approx(first.seconds / 3600 * (2 * 3.0 + 4.0 / 4)), "two cores, a quarter of the head"
    assert (other.what, other.seconds, other.lost_s) == ("Study unknown", 35, 0)


def test_a_sweep_that_does_not_say_its_slots_has_no_price() -> None:
    for params in ({}, SLOTS | {"slots": "some"}):
        (part,) = spent([table()], [run("a", Config(), [1.0])], [priced_sweep(**params)], Prices(cpu=1.0))
        assert part.money is None


def test_the_page_says_what_each_table_took(tmp_path: Path) -> None:
    usage = {"peak_memory_mb": 812.4, "cpu_share": 0.97}
    trials = [run("a", Config(), [3600.0]), run("b", Config(loss="hinge"), [1800.0], status="FAILED")]
    trials[0] = replace(trials[0], metrics=trials[0].metrics | usage)
    record = Recorded(trials, priced_sweep(**SLOTS))
    record.origins = {"first": ORIGIN}
    write_report(ReportData(record, tmp_path, prices=Prices(cpu=1.0)))
    page = (tmp_path / "README.md").read_text()
    assert "| Table 3. Loss | 2: 1 complete, 1 failed | 2 | 1.50 | 0.50 | 3.00 | 812 | 0.97 |" in page
    assert "[packages-1.txt](packages-1.txt)" in page and "[changes-1.diff](changes-1.diff)" in page
    assert (tmp_path / "changes-1.diff").read_text() == ORIGIN[CHANGES]
    assert "Table 3. Loss,2,1,0,1,0,0,2,1.5,0.5,3,812.4,0.97" in (tmp_path / "costs.csv").read_text()
    write_report(ReportData(Recorded(trials[:1], priced_sweep(**SLOTS)), tmp_path))
    page = (tmp_path / "README.md").read_text()
    assert "money" not in page and "lost hours" not in page.lower()
    assert "Missing: the packages of 1 of 1 sweeps" in page


def test_prices_are_read_or_refused_by_name() -> None:
    assert parse_prices("gpu=.5, cpu=2") == Prices(gpu=0.5, cpu=2.0)
    for bad in ("gpu", "tpu=1", "gpu=-1", "gpu=1e5"):
        with pytest.raises(ValueError, match=r"--prices .* must be one of gpu=PRICE"):
            parse_prices(bad)


@pytest.mark.usefixtures("made_record")
def test_failed_trials_and_the_origin_of_the_code_travel(tmp_path: Path) -> None:
    """From a record to a folder and into another record."""
    home, uri = tmp_path / "exported", f"sqlite:///{tmp_path}/mlflow.db"
    client, experiment_id = ensure_experiment(uri, "there")
    recorder = Recorder(client, experiment_id, name="s", tags=TAGS, params=SLOTS, tables=[table("digits")])
    recorder.act(lambda client: [client.log_text(recorder.run_id, t, f"origin/{n}") for n, t in ORIGIN.items()])
    config = Config(data="digits", epochs=2)
    spec = trial_spec(config, tmp_path / "storage", "abc", name="t", tags={"study": "tables"})
    recorder.tell(TrialStarted("t", spec))
    epoch = Epoch(1, 7.0, {"train_loss": [1.0], "train_error": [0.5], "test_error": [0.5]})
    recorder.tell(TrialReported("t", TrialReport(epochs=(epoch,), done=False)))
    recorder.tell(TrialEnded("t", TrialEnd.FAILED, Fault("no reason")))
    assert recorder.finish("FAILED")
    export(home, tracking_uri=uri, experiment="there")
    import_(home, uri, "here")
    for source in (ExportedRecord(home), Record(uri, "here")):
        (recorded,), (failed,) = source.sweeps(), source.histories()
        assert source.origin(recorded) == ORIGIN
        assert failed.histories["epoch_s"] == [(1, 7.0)] and failed.tags["outcome"] == "failed"
        assert not failed.complete
    (home / sweep_folder(ExportedRecord(home).sweeps()[0]) / "origin" / CHANGES).write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not an exported record"):
        import_(home, uri, "nowhere")
    assert client.get_experiment_by_name("nowhere") is None
