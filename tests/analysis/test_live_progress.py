"""How far a sweep is, computed from records in memory."""

from dataclasses import replace

import pytest

from analysis.live.progress import SweepProgress, progress_of
from analysis.record.recorded import RunStatus, SweepRecord, TrialRecord, per_seed
from tests.analysis_records import TAGS, sweep, trial
from tests.live_records import BIGGER, EPOCHS, HINGE, PLAIN, asked
from trainable.config import Config
from trainable.study import ResolvedTable

NOW_S = 1100.0


def trained(
    name: str, config: Config, seed: int, epochs: int = EPOCHS, *, sweep: str = "now", seconds: float = 10.0
) -> TrialRecord:
    """A trial that still runs, or has ended where it has all of its epochs."""
    numbers = range(1, epochs + 1)
    errors = [(epoch, 0.5 / epoch) for epoch in numbers]
    series = {
        "epoch_s": [(epoch, seconds) for epoch in numbers], "test_error": errors, per_seed("test_error", seed): errors,
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
    """In 100 s it trained 2 epochs of 10 s: 0.2 seconds of training a second."""
    tables = [asked("3", 2, plain=PLAIN, hinge=HINGE)]
    assert progress(tables, []).seconds_left is None, "nobody knows yet"
    left_of_plain, hinge = 2 * 10, 2 * EPOCHS * 10
    here = [trained("plain", PLAIN, 0, sweep="old"), trained("plain", PLAIN, 1, 2)]
    assert progress(tables, here).seconds_left == pytest.approx((left_of_plain + hinge) / 0.2)
    resumed = [*here, trained("plain", PLAIN, 1, 1, sweep="old")]
    assert progress(tables, resumed).seconds_left == pytest.approx((left_of_plain + hinge) / 0.1), (
        "the first epoch was another sweep's"
    )
    again = [*here, trained("plain", PLAIN, 1, 1, sweep="old", seconds=9.0)]
    assert progress(tables, again).seconds_left == pytest.approx((left_of_plain + hinge) / 0.2), "it trained anew"
    failed = [*here, replace(trained("hinge", HINGE, 0, 1), status=RunStatus.FAILED, tags={"outcome": "failed"})]
    assert progress(tables, failed).seconds_left == pytest.approx((left_of_plain + hinge / 2) / 0.3), (
        "what it gave up is left to the next sweep"
    )


def test_seeds_that_are_trained_together_share_the_time() -> None:
    fused = replace(trained("plain", PLAIN, 0, 2), seeds=(0, 1))
    found = progress([asked("3", 2, plain=PLAIN, hinge=HINGE)], [fused])
    assert found.seconds_left == pytest.approx((2 * 2 * 5 + 2 * EPOCHS * 5) / 0.2)


def test_a_network_that_has_not_begun_is_timed_by_its_arithmetic() -> None:
    plain, bigger = (
        progress([asked("3", 1, plain=PLAIN, other=other)], [trained("plain", PLAIN, 0, 2)]).seconds_left
        for other in (HINGE, BIGGER)
    )
    assert plain and bigger and bigger > 1.5 * plain
