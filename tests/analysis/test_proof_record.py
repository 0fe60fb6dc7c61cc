"""Which proof a report shows of a record that grew: of the present winner alone, and what it lacks is named."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib import pyplot
from mlflow import MlflowClient

from analysis.plots.effect_intervals import draw_effects
from analysis.record.replicates import replicates
from analysis.statistics.effects import paired_effects
from analysis.statistics.t_tests import paired_difference
from sweeps.planning.table_plan import resolve_table
from sweeps.recording.promotion import decide_promotion
from sweeps.studies.proof import proof_study
from sweeps.studies.search import SEARCH
from tests.analysis_records import Recorded, page_of, search, search_trial, sweep, trial
from trainable.config import Config
from trainable.search_space import Choice, Range
from trainable.study import ResolvedTable

REFERENCE = Config(batch_norm=True)
EARLIER, PRESENT = REFERENCE.change(label_smoothing=0.1), REFERENCE.change(flip=True, label_smoothing=0.2)
SMOOTHING, FLIP = "without label_smoothing 0.2", "without flip true"


def proof_of(winner: Config, difference_seeds: int) -> list[ResolvedTable]:
    study = proof_study(SEARCH, REFERENCE, winner, 2, difference_seeds)
    return [resolve_table(study.name, table, {}, "abc", 1) for table in study.tables]


def record_of(*sweeps: list[ResolvedTable], untrained: tuple[str, ...] = ()) -> Recorded:
    """A record of these sweeps' tables with two seeds of each config, without the rows named as untrained."""
    rows = {row.key: row for tables in sweeps for table in tables for row in table.rows if row.name not in untrained}
    trials = [trial(row.name, {0: [0.30], 1: [0.31 + index / 100]}, row.config) for index, row in
              enumerate(rows.values())]  # fmt: skip
    return Recorded(trials, *(sweep(*tables) for tables in sweeps))


def test_the_differences_of_an_earlier_winner_are_shown_as_that(tmp_path: Path) -> None:
    earlier = proof_of(EARLIER, difference_seeds=2)
    page = page_of(tmp_path / "earlier", record_of(earlier))
    assert "\n| without label_smoothing 0.1 |" in page
    page = page_of(tmp_path / "present", record_of(earlier, proof_of(PRESENT, difference_seeds=0)))
    missing, _, earlier = page.partition("Missing: what each of its differences is worth (--difference-seeds 5).")
    assert "\n| without label_smoothing 0.1 |" not in missing
    assert "are of an earlier winner, whose test error is 0.3" in earlier
    assert "\n| without label_smoothing 0.1 |" in earlier


def test_a_difference_that_is_not_trained_is_named(tmp_path: Path) -> None:
    tables = proof_of(PRESENT, difference_seeds=2)
    page = page_of(tmp_path / "one", record_of(tables, untrained=(FLIP,)))
    assert f"\n| {SMOOTHING} |" in page
    assert f"Missing: no training is recorded of the winner {FLIP}." in page
    page = page_of(tmp_path / "none", record_of(tables, untrained=(FLIP, SMOOTHING)))
    (missing,) = re.findall("Missing: no training is recorded of the winner (.*)\\.\n", page)
    assert set(missing.split("; ")) == {FLIP, SMOOTHING}


def test_a_new_winner_does_not_have_the_test_error_of_an_earlier_one(tmp_path: Path) -> None:
    """A search went on and found a better config, whose proof is planned and not trained yet."""
    earlier, present = (proof_of(winner, difference_seeds=0) for winner in (EARLIER, PRESENT))
    space = {"label_smoothing": Range(low=0.0, high=0.3), "flip": Choice(choices=(False, True))}
    definition = search(space, base=REFERENCE.change(protocol="B"))
    searched = [
        search_trial(f"search-{error}", definition, {"label_smoothing": smoothing, "flip": flip}, [error] * 20)
        for smoothing, flip, error in ((0.1, False, 0.3), (0.2, True, 0.2))
    ]
    sweeps = sweep(*earlier), sweep(*present, searches=(definition,))
    page = page_of(tmp_path / "new", Recorded([*record_of(earlier).histories(), *searched], *sweeps))
    assert "The winner has a validation error of 0.2000" in page
    said = "Its proof is not trained yet. The recorded proof is that of an earlier winner, which has a test error of"
    assert f"{said} 0.3100" in page
    assert "| its test error | missing: not read yet; the recorded proof is of an earlier winner |" in page
    assert "This is the proof of an earlier winner. That of the present one, search-0.2, is not trained yet." in page
    page = page_of(tmp_path / "proven", Recorded([*record_of(earlier, present).histories(), *searched], *sweeps))
    assert "The winner has a test error of 0.3150" in page and "| its test error | 0.3150" in page
    assert "earlier winner" not in page


def test_a_winner_without_a_training_has_no_proof(tmp_path: Path) -> None:
    long = [table.model_copy(update={"number": "36", "title": "The long track"}) for table in proof_of(EARLIER, 0)]
    short = proof_of(PRESENT, difference_seeds=0)
    trained = {row.key for table in short for row in table.rows}
    record = record_of([*short, *long])
    record = Recorded([each for each in record.histories() if each.key in trained], *record.sweeps())
    page = page_of(tmp_path, record)
    assert f"### {short[0].title}" in page
    assert "Missing: The long track; not both of its configurations are trained." in page
    assert "Missing: the record has no kernels of the winner network." in page


def test_seeds_that_all_differ_by_the_same_are_no_certainty() -> None:
    """Three images of 359 more for each seed: a t-test would take rounding for their spread."""
    winner, compared = ({seed: (k + more) / 359 for seed, k in enumerate((7, 11, 20))} for more in (0, 3))
    assert paired_difference(winner, compared).p is None


@pytest.mark.parametrize(("difference", "ticks"), [(0.004, 3), (0.3, 4)])
def test_small_and_large_differences_can_be_read(
    difference: float, ticks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    (_, table) = proof_of(EARLIER, difference_seeds=2)
    errors = [0.30, 0.30 + difference]
    trials = [trial(row.name, {0: [error], 1: [error + 0.0005 * error]}, row.config)
              for row, error in zip(table.rows, errors, strict=True)]  # fmt: skip
    draw_effects(paired_effects([table], replicates(trials)), "test error", tmp_path / "effects.png")
    (axis,) = pyplot.gcf().axes
    low, high = axis.get_xlim()
    assert low < difference < high
    assert sum(low <= tick <= high for tick in axis.get_xticks()) >= ticks


def test_a_winner_that_learned_nothing_is_no_champion(tmp_path: Path) -> None:
    definition = search({"lr": Range(low=0.001, high=0.1)})
    lost, won = (search_trial(name, definition, {"lr": 0.01}, [0.9, error]) for name, error in
                 (("lost", 0.9), ("won", 0.5)))  # fmt: skip
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    for searched, moves in ((lost, False), (won, True)):
        lasts = replace(searched, metrics={"val_error/seed_0": searched.metrics["val_error"]})
        promotion = decide_promotion(client, "model", searched.key, [lasts], (0,), 1)
        assert promotion.moves is moves, promotion.why
