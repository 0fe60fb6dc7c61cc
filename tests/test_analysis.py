"""Analysis is computed from recorded trials alone: every cell of a small record is checked by hand or against SciPy."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.figures import draw_tables
from analysis.folder import read_folder, write_sweep
from analysis.kernels import PIXEL, kernel_grid
from analysis.record import Series, SweepRecord, TrialRecord
from analysis.report import make_report
from analysis.tables import latest_tables, reproduce
from trainable.config import Config
from trainable.study import Reported, ResolvedRow, ResolvedTable

TAGS = {"outcome": "complete", "data": "cifar10", "data_fingerprint": "abc", "torch": "2.15.0", "git_commit": "c0ffee"}


def trial(name: str, errors: dict[int, list[float]], config: Config, **changes: object) -> TrialRecord:
    """A complete trial whose train error is half its test error."""
    metrics: dict[str, Series] = {}
    for seed, values in errors.items():
        metrics[f"test_error/seed_{seed}"] = list(enumerate(values, start=1))
        metrics[f"train_error/seed_{seed}"] = [(epoch, value / 2) for epoch, value in enumerate(values, start=1)]
    fields = {
        "key": config.key("abc"), "name": name, "config": config, "seeds": tuple(errors), "status": "FINISHED",
        "sweep": "s", "tags": TAGS, "metrics": metrics, "run_id": name,
    }  # fmt: skip
    return TrialRecord(**(fields | changes))  # type: ignore[arg-type]


def table(data: str = "cifar10") -> ResolvedTable:
    base, hinge = Config(data=data), Config(data=data, loss="hinge")
    printed = Reported(train_error=0.0586, train_epoch=19, test_error=0.3016, test_epoch=8)
    rows = (
        ResolvedRow(name="cross-entropy", key=base.key("abc"), config=base, reported=printed),
        ResolvedRow(name="hinge", key=hinge.key("abc"), config=hinge, reported=printed),
    )
    reference = base.key("abc")
    return ResolvedTable(
        study="tables", number="3", slug="loss", title="Loss", varies="loss", rows=rows, reference=reference
    )


def test_cells_are_minima_over_epochs_and_means_over_seeds() -> None:
    trials = [trial("baseline", {0: [0.5, 0.30, 0.32]}, Config()), trial("more", {1: [0.4, 0.36, 0.34]}, Config())]
    (filled,) = reproduce([table()], trials)
    row = filled.rows[0]
    assert row.seeds == (0, 1)
    cell = row.held_out
    assert cell is not None and row.train is not None
    assert (cell.minima, cell.epochs, cell.finals) == ((0.30, 0.34), (2, 3), (0.32, 0.34))
    assert cell.mean == pytest.approx(0.32)
    assert row.train.mean == pytest.approx(0.16)


def test_intervals_agree_with_scipy() -> None:
    errors = {seed: [error] for seed, error in enumerate([0.30, 0.31, 0.305, 0.315])}
    (filled,) = reproduce([table()], [trial("baseline", errors, Config())])
    cell = filled.rows[0].held_out
    assert cell is not None and cell.half_width is not None
    low, high = stats.t.interval(0.95, 3, loc=cell.mean, scale=stats.sem(cell.minima))
    assert (cell.mean - cell.half_width, cell.mean + cell.half_width) == pytest.approx((low, high))
    spread = np.std(cell.minima, ddof=1) * np.sqrt(1 + 1 / 4)
    assert cell.next_run() == pytest.approx(stats.t.interval(0.95, 3, loc=cell.mean, scale=spread))


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.295, 0.300, 0.305], "yes"),
        ([0.350, 0.352, 0.351], "no"),
        ([0.310], "one seed"),
    ],
)
def test_a_printed_figure_is_judged_by_the_next_runs_interval(errors: list[float], expected: str) -> None:
    by_seed = {seed: [error] for seed, error in enumerate(errors)}
    (filled,) = reproduce([table()], [trial("baseline", by_seed, Config())])
    assert filled.rows[0].verdicts is not None
    assert filled.rows[0].verdicts[1] == expected


class Recorded:
    """A record in memory."""

    def __init__(self, trials: list[TrialRecord], *sweeps: SweepRecord) -> None:
        self._trials, self._sweeps = trials, list(sweeps)
        self.files: dict[tuple[str, str], dict[str, np.ndarray]] = {}

    def sweeps(self) -> list[SweepRecord]:
        return self._sweeps

    def histories(self) -> list[TrialRecord]:
        return [trial for trial in self._trials if trial.status == "FINISHED"]

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        return self.files.get((trial.run_id, name), {})


def page_of(folder: Path, record: Recorded) -> str:
    make_report(record, folder)
    return (folder / "README.md").read_text()


def test_what_is_missing_or_unfinished_is_missing(tmp_path: Path) -> None:
    unfinished = trial("hinge", {0: [0.1]}, Config(loss="hinge"), status="KILLED")
    (filled,) = reproduce([table()], [trial("baseline", {0: [0.3]}, Config()), unfinished])
    assert filled.rows[1].held_out is None
    page = page_of(tmp_path, Recorded([trial("baseline", {0: [0.3]}, Config()), unfinished], sweep(table())))
    for missing in ("no kernels of the baseline", "study `envelope`", "`smoothness`", "`surface`"):
        assert missing in page
    assert "| hinge | missing | missing | missing | - |" in page
    assert (tmp_path / "table-3.csv").read_text().splitlines()[1:] == [
        "cross-entropy,0,0.15,1,0.15,0.3,1,0.3,0.0586,0.3016",
        "hinge,,,,,,,,0.0586,0.3016",
    ]


def sweep(*tables: ResolvedTable, name: str = "first") -> SweepRecord:
    return SweepRecord(
        run_id="s", name=name, start_time=1, status="FINISHED", tags={}, params={"epochs": "3"}, tables=tables
    )


def test_the_page_says_what_it_was_made_with_and_what_disagrees(tmp_path: Path) -> None:
    trials = [trial("baseline", {0: [0.30]}, Config()), trial("hinge", {0: [0.40]}, Config(loss="hinge"))]
    page = page_of(tmp_path, Recorded(trials, sweep(table())))
    for fact in ("fingerprint abc", "torch 2.15.0", "commit | c0ffee", "seeds 0"):
        assert fact in page
    assert (
        "| cross-entropy | 0.1500 @1 | 0.3000 @1 | 0.3000 | 0 | 0.0586 @19 | 0.3016 @8 | one seed, one seed |" in page
    )
    assert "Of 2 printed test errors 0 lie in the" in page and "2 cannot be judged" in page
    assert "Not reproduced" not in page, "one seed says nothing"
    assert "JPEG" not in page


def test_the_page_begins_with_what_is_sure(tmp_path: Path) -> None:
    near, far = ({s: [e] for s, e in enumerate(errors)} for errors in ((0.31, 0.30, 0.34), (0.50, 0.51, 0.53)))
    trials = [trial("baseline", {0: [0.30], 1: [0.31], 2: [0.32]}, Config())]
    placed = {"hinge": (Config(loss="hinge"), far), "tanh": (Config(activation="tanh"), near)}
    rows = tuple(ResolvedRow(name=name, key=config.key("abc"), config=config) for name, (config, _) in placed.items())
    trials += [trial(name, errors, config) for name, (config, errors) in placed.items()]
    searched = {"outcome": "complete", "study": "search"}
    best = {"val_error": [(2, 0.25)], "winner_test_error": [(0, 0.27)]}
    config = Config(protocol="B", batch_norm=True, bn_momentum=0.2, epochs=2)
    trials.append(trial("search-001", {}, config, tags=TAGS | searched, metrics=best, seeds=(0,)))
    own = table().model_copy(update={"rows": (*table().rows[:1], *rows)})
    page = page_of(tmp_path, Recorded(trials, sweep(own)))
    short = page[: page.index("## What this is made of")]
    assert "Of 1 printed test errors 1 lie in the 95% prediction interval" in short
    assert "Study tables, 2 of 2 changes tested" in short
    assert "the error is raised by loss: hinge (+0.2033); lowered by none. 1 stay undecided" in short
    assert f"with 3 seeds the strongest of 2 has to reach |t| = {stats.t.isf(0.05 / 4, 2):.1f}." in short
    assert "search-001: validation error 0.2500, test error, read once, 0.2700." in short
    assert "| best config | search-001: bn_momentum 0.2, epochs 2 |" in page


def test_what_is_not_reproduced_is_said_with_its_interval(tmp_path: Path) -> None:
    errors = {0: [0.400], 1: [0.402], 2: [0.404]}
    lost = {0: [0.5], 1: [0.6], 2: [0.9]}
    trials = [trial("baseline", errors, Config()), trial("hinge", lost, Config(loss="hinge"))]
    page = page_of(tmp_path, Recorded(trials, sweep(table())))
    half = stats.t.ppf(0.975, 2) * 0.002 * np.sqrt(1 + 1 / 3)
    assert (
        "Not reproduced: table 3, cross-entropy: test error 0.4020, one more run within "
        f"{0.402 - half:.4f} to {0.402 + half:.4f}, reported 0.3016 (+0.1004)."
    ) in page
    assert "In table 3, hinge, the training never left chance with seed 2" in page
    assert "0 lie in the 95% prediction interval of one more of our runs, 1 do not, 1 cannot be judged" in page
    assert "@1,1,1 | 0.5000, 0.6000, 0.9000 @1,1,1 | 0.5000, 0.6000, 0.9000 |" in page


def test_protocol_b_shows_the_validation_error(tmp_path: Path) -> None:
    trials, rows = [], []
    for name, config in (("baseline", Config(protocol="B")), ("hinge", Config(protocol="B", loss="hinge"))):
        series = {f"{metric}/seed_0": [(1, 0.4), (2, 0.3)] for metric in ("train_error", "val_error")}
        trials.append(trial(name, {}, config, seeds=(0,), metrics=series))
        rows.append(ResolvedRow(name=name, key=config.key("abc"), config=config))
    own = table().model_copy(update={"rows": tuple(rows), "reference": rows[0].key})
    page = page_of(tmp_path, Recorded(trials, sweep(own)))
    assert "|  | train error | validation error | last epoch | seeds |" in page
    assert "| hinge | 0.3000 @2 | 0.3000 @2 | 0.3000 | 0 |" in page


def test_errors_on_re_encoded_images_are_said_to_be_that(tmp_path: Path) -> None:
    lossy = trial("baseline", {0: [0.30]}, Config(), tags=TAGS | {"data_form": "parquet of JPEG"})
    assert "lossily re-encoded copies" in page_of(tmp_path, Recorded([lossy], sweep(table())))


def test_a_report_of_no_record_is_one_line_and_makes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analysis.report", str(tmp_path / "out")]
    for option, value in (("--tracking-uri", f"sqlite:///{tmp_path}/none.db"), ("--folder", str(tmp_path))):
        answer = subprocess.run([*command, option, value], capture_output=True, text=True, check=False)
        assert answer.returncode == 2
        assert answer.stderr.startswith("error: ") and str(tmp_path) in answer.stderr and answer.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_html_page_needs_nothing_else(tmp_path: Path) -> None:
    page = make_report(Recorded([trial("baseline", {0: [0.3]}, Config())], sweep(table())), tmp_path).read_text()
    assert "<td>hinge</td>" in page
    assert page.count("data:image/png;base64,") == len(list(tmp_path.glob("*.png"))) > 2
    assert "http" not in re.sub("base64,[A-Za-z0-9+/=]*", "", page)
    for picture in tmp_path.glob("*.png"):
        assert picture.with_suffix(".csv").exists(), "the numbers lie beside the picture"


def test_digits_are_never_compared_with_the_report(tmp_path: Path) -> None:
    config = Config(data="digits")
    tags = TAGS | {"data": "digits"}
    page = page_of(tmp_path, Recorded([trial("baseline", {0: [0.1]}, config, tags=tags)], sweep(table("digits"))))
    assert page.startswith("# Ablations on digits")
    assert "0.3016" not in page and "the report says" not in page
    assert not any("0.3016" in file.read_text() for file in tmp_path.glob("*.csv"))


def test_a_table_is_taken_from_the_latest_sweep() -> None:
    later = table().model_copy(update={"title": "Loss, again"})
    first_b = table().model_copy(update={"number": "10"})
    tables = latest_tables([sweep(table(), first_b), sweep(later)], found=())
    assert [(t.number, t.title) for t in tables] == [("3", "Loss, again"), ("10", "Loss")]


def test_what_was_begun_in_passing_hides_no_finished_table(tmp_path: Path) -> None:
    short = [ResolvedRow(name="cross-entropy", key="short", config=Config(epochs=2))]
    stopped = sweep(table().model_copy(update={"rows": tuple(short)}))
    done = [trial("baseline", {0: [0.30], 1: [0.32]}, Config())]
    page = page_of(tmp_path, Recorded(done, sweep(table()), stopped))
    assert "| cross-entropy | 0.1550" in page and "0.3016 @8" in page


def test_a_record_in_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    errors = {0: [0.3, 1 / 3], 1: [0.4, 0.2]}
    trials = [trial(name, errors, Config(channels=(4, 8))) for name in ("1/2", "plain, SGD 0.1")]
    write_sweep(tmp_path, sweep(table()), trials)
    assert read_folder(tmp_path) == ([sweep(table())], trials)
    with pytest.raises(FileNotFoundError, match="no exported sweep here"):
        read_folder(tmp_path / "elsewhere")


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    draw_tables(reproduce([table()], [trial("baseline", {0: [0.3], 1: [0.31]}, Config())]), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_kernels_share_a_symmetric_scale() -> None:
    kernels = np.zeros((9, 3, 3, 3), np.float32)
    kernels[0, 0] = 2.0
    kernels[1, 2] = -1.0
    picture = kernel_grid(kernels, bound=2.0)
    side = 3 * PIXEL + 4
    assert picture.shape == (2 * side, 8 * side, 3)
    assert picture[5, 5].tolist() == [255, 128, 128]
    assert picture[5, side + 5].tolist() == [128, 128, 64]
    assert picture[5, 2 * side + 5].tolist() == [128, 128, 128], "a dead kernel is grey"
    assert picture[side + 5, side + 5].tolist() == [255, 255, 255], "no kernel there"
