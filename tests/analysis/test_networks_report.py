"""What the report says of networks' losses and gradients, and of learning rates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.record.recorded import TrialRecord
from analysis.statistics.intervals import mean_text
from tests.analysis_records import TAGS, Recorded, page_of, resolved_row, sweep, trial
from trainable.config import Config
from trainable.files import SURFACE, TRACES
from trainable.measures import STEP_SIZES
from trainable.model import build
from trainable.study import ResolvedRow, ResolvedTable


def test_the_report_shows_networks_and_measurements(tmp_path: Path) -> None:
    configs = [Config(data="digits", batch_norm=norm, epochs=3) for norm in (False, True)]
    trials = [trial(f"t{config.batch_norm}", {0: [0.3, 0.2]}, config) for config in configs]
    trials = [trial.__class__(**{**vars(trial), "tags": {**trial.tags, "probe_every": "50"}}) for trial in trials]
    rows = tuple(
        resolved_row(name, config)
        for name, config in zip(("plain, Adam 0.001", "batch norm, Adam 0.001"), configs, strict=True)
    )
    tables = [
        ResolvedTable(study="s", number=number, slug=measure, title=measure, varies="x", rows=rows, measure=measure)
        for number, measure in (("10", "probe"), ("11", "surface"))
    ]
    again = trial("t again", {0: [0.3, 0.2]}, configs[0], tags=trials[0].tags)
    record = Recorded([*trials, again], sweep(*tables))
    axis = np.linspace(-1, 1, 3)
    for each, config in zip(trials, configs, strict=True):
        trained = {f"trained/{name}": tensor.numpy() for name, tensor in build(config).state_dict().items()}
        record.files[each.run_id, TRACES] = trained | {
            "kernels/epoch_0": trained["trained/conv1.weight"],
            "probes/seed_0": np.ones((3, len(STEP_SIZES), 3), np.float32),
            "step_losses/seed_0": np.ones(3 * 12, np.float32),
        }
        record.files[each.run_id, SURFACE] = {
            "alphas": axis, "betas": axis, "loss": np.arange(9.0).reshape(3, 3) ** 2, "error": np.ones((3, 3)),
            "images": np.array(2000),
        }  # fmt: skip
    first = record.files[trials[0].run_id, TRACES]
    kernels = first["kernels/epoch_0"]
    first["trained/conv1.weight"] = 2 * kernels * (np.arange(len(kernels)) > 0)[:, None, None, None]
    record.files[again.run_id, TRACES] = {**first, "probes/seed_0": 5 * first["probes/seed_0"]}
    page = page_of(tmp_path, record)
    medians = (tmp_path / "probe-adam-0.001-medians.csv").read_text()
    assert "plain,0,0,0,1,1" in medians, "of a seed trained again the first training counts"
    for picture in ("kernels-1-batch-norm", "kernels-2-baseline", "probe-adam-0.001", "surface-2d"):
        assert f"({picture}.png)" in page
        assert (tmp_path / f"{picture}.png").exists()
    assert "| plain, Adam 0.001 | 16.00 (1.000) | 16.20 (1.000) | 16.40 (1.000) | 17.00 (1.000) |" in page
    assert page.count("1 kernel is shorter than a tenth of the longest.") == 1
    assert page.count("No kernel is shorter than a tenth of the longest.") == 1


def envelopes(errors: dict[bool, dict[float, list[float]]], epochs: dict[bool, int]) -> Recorded:
    """A record of two envelopes, without and with batch norm: the last error of each seed by learning rate."""
    trials: list[TrialRecord] = []
    tables, files = [], {}
    for number, slug, norm in (("9", "envelope-x", False), ("9b", "envelope-x-batch-norm", True)):
        rows = []
        for lr, of_seeds in errors[norm].items():
            config = Config(data="digits", batch_norm=norm, epochs=epochs[norm], lr=lr)
            rows.append(resolved_row(str(lr), config))
            histories = {seed: [error] * epochs[norm] for seed, error in enumerate(of_seeds)}
            each = trial(f"{slug}-{lr}", histories, config)
            trials.append(each)
            files[each.run_id, TRACES] = {
                f"step_losses/seed_{seed}": np.full(4 * epochs[norm], lr) for seed in range(len(of_seeds))
            }
        tables.append(
            ResolvedTable(
                study="s", number=number, slug=slug, title=slug, varies="lr", rows=tuple(rows), measure="losses"
            )
        )
    record = Recorded(trials, sweep(*tables))
    record.files = files
    return record


def test_networks_that_were_not_trained_alike_are_not_compared(tmp_path: Path) -> None:
    same = {0.1: [0.3], 0.2: [0.3]}
    page = page_of(tmp_path, envelopes({False: same, True: same}, {False: 3, True: 5}))
    assert "(envelope-x.png)" in page and "(envelope-x-batch-norm.png)" in page
    assert "difference, paired by seed" not in page and "At the best of" not in page
    assert "| envelope-x | mean height | 1 | 0.1000 | 0.1000 |" in page


def test_networks_that_were_trained_on_other_forms_of_the_data_are_not_compared(tmp_path: Path) -> None:
    same = {0.1: [0.3], 0.2: [0.3]}
    record = envelopes({False: same, True: same}, {False: 3, True: 3})
    jpeg = TAGS | {"data_fingerprint": "jpeg"}
    trials = [replace(each, tags=jpeg) if each.config.batch_norm else each for each in record.histories()]
    other = Recorded(trials, *record.sweeps())
    other.files = record.files
    assert "difference, paired by seed" in page_of(tmp_path / "same", record)
    assert "difference, paired by seed" not in page_of(tmp_path / "other", other)


def test_a_share_of_the_steps_is_never_rounded_up_to_all(tmp_path: Path) -> None:
    """With batch norm the larger rate has the smaller loss at one step of 3,000."""
    same = {0.1: [0.3], 0.2: [0.3]}
    record = envelopes({False: same, True: same}, {False: 3, True: 3})
    for losses in record.files.values():
        losses["step_losses/seed_0"] = np.resize(losses["step_losses/seed_0"], 3_000)
    record.files["envelope-x-batch-norm-0.2", TRACES]["step_losses/seed_0"][7] = 0.0
    page = page_of(tmp_path, record)
    assert "envelope-x, 0.2 at 100% of the steps; envelope-x-batch-norm, 0.2 at 99.9% of the steps." in page


def measured(measure: str, **other: float) -> Recorded:
    """A record of a table with that measure and two rows, of which the second is `other` in these fields."""
    trials, files = [], {}
    for config in (Config(data="digits", epochs=2), Config(data="digits", epochs=2).change(**other)):
        steps = config.epochs * 1536 // config.batch_size
        each = trial(f"t{len(trials)}", {0: [0.3]}, config, tags=TAGS | {"probe_every": "2"})
        files[each.run_id, TRACES] = {
            "step_losses/seed_0": np.ones(steps),
            "probes/seed_0": np.ones((steps // 2, len(STEP_SIZES), 3)),
        }
        trials.append(each)
    rows = tuple(ResolvedRow(name=each.name, key=each.key, config=each.config) for each in trials)
    own = ResolvedTable(study="s", number="50", slug="own", title="My table", varies="x", rows=rows, measure=measure)
    record = Recorded(trials, sweep(own))
    record.files = files
    return record


@pytest.mark.parametrize("other", [{"batch_size": 256}, {"epochs": 4}, {"dropout": 0.2, "lr": 0.01}])
def test_losses_of_rows_that_differ_in_more_than_the_rate_are_missing_and_the_rest_of_the_report_is_made(
    other: dict[str, float], tmp_path: Path
) -> None:
    page = page_of(tmp_path, measured("losses", **other))
    why = "its rows differ in more than the learning rate, so that their losses make no envelope"
    assert f"Missing: My table; {why}." in page
    assert "Table 50. My table" in page and not (tmp_path / "own.png").exists()


def test_probes_of_rows_with_other_steps_are_each_drawn_at_their_own(tmp_path: Path) -> None:
    page = page_of(tmp_path, measured("probe", batch_norm=True, batch_size=256, epochs=3))
    assert "digits, 2 epochs, fp32 and digits, 3 epochs, fp32, seed 0, the first of 1; 12 or 9 steps probed." in page
    lines = (tmp_path / "own-adam-0.001.csv").read_text().splitlines()
    steps = {name: [line.split(",")[1] for line in lines if line.startswith(f"{name},") and "loss" in line]
             for name in ("t0", "t1")}  # fmt: skip
    assert steps == {
        "t0": ["0", "2", "4", "6", "8", "10", "12", "14", "16", "18", "20", "22"],
        "t1": ["0", "2", "4", "6", "8", "10", "12", "14", "16"],
    }
    assert "batch norm makes it" not in page, "the rows differ in more than that"


def test_networks_are_compared_at_each_learning_rate_and_at_their_best_ones(tmp_path: Path) -> None:
    plain, normed = {0.1: [0.40, 0.42], 0.2: [0.30, 0.32]}, {0.1: [0.25, 0.26], 0.2: [0.35, 0.36]}
    page = page_of(tmp_path, envelopes({False: plain, True: normed}, {False: 3, True: 3}))
    equal = stats.ttest_1samp([-0.05, -0.06], -0.01, alternative="greater").pvalue
    best = (
        "At the best of 2 learning rates for each network, the test error is 0.3100 without batch norm (0.2) and "
        "0.2550 with it (0.1): a difference of -0.0550 ± 0.0635 (2 seeds, p "
        f"{stats.ttest_1samp([-0.05, -0.06], 0).pvalue:.3f}, not corrected)."
    )
    assert "batch norm lowers the mean test error at 0.1 (-0.1550) and raises it at 0.2 (+0.0450)." in page
    assert f"That it is smaller than 0.01 has p {equal:.3f}, not corrected." in page
    assert page.count(best) == 2, "in short, and in its section"
    assert f"| 0.1 | {mean_text([0.40, 0.42])} | {mean_text([0.25, 0.26])} | -0.1550 ± 0.0635 | 0.021 | 2 |" in page


def test_a_seed_does_not_choose_the_learning_rate_at_which_it_is_compared(tmp_path: Path) -> None:
    """Without batch norm the rates differ by chance alone, and each seed would choose the one at which it is lucky."""
    plain = {0.1: [0.30, 0.40, 0.34], 0.2: [0.40, 0.30, 0.36]}
    normed = {0.1: [0.30, 0.30, 0.30], 0.2: [0.50, 0.50, 0.50]}
    page = page_of(tmp_path, envelopes({False: plain, True: normed}, {False: 3, True: 3}))
    differences = [0.30 - 0.40, 0.30 - 0.40, 0.30 - 0.34]
    assert f"a difference of {mean_text(differences, '+.4f')} (3 seeds, p " in page
    assert "each seed's rates are chosen without that seed, which changes some choices." in page
    next_best = mean_text([0.50 - 0.30, 0.50 - 0.40, 0.50 - 0.34], "+.4f")
    assert f"With the next best rate with batch norm, 0.2, the difference is {next_best} (3 seeds, p " in page


def test_the_best_learning_rate_is_chosen_by_the_seeds_that_all_have(tmp_path: Path) -> None:
    """A rate of one lucky seed is not the best for that: with the same seed alone, the other is better."""
    plain, normed = {0.1: [0.30, 0.40, 0.41], 0.2: [0.31]}, {0.1: [0.25, 0.26, 0.27], 0.2: [0.26]}
    page = page_of(tmp_path, envelopes({False: plain, True: normed}, {False: 3, True: 3}))
    assert "the test error is 0.3700 without batch norm (0.1) and 0.2600 with it (0.1)" in page


def test_rates_that_were_trained_on_another_form_of_the_data_are_not_compared(tmp_path: Path) -> None:
    """As JPEG files instead of the original ones: the config is the same, the images are not."""
    record = envelopes({False: {0.1: [0.40], 0.2: [0.30]}, True: {0.1: [0.25], 0.2: [0.35]}}, {False: 3, True: 3})
    files = record.files
    config = Config(data="digits", epochs=3, lr=0.3)
    row = ResolvedRow(name="jpeg", key=config.key("jpeg"), config=config)
    more = ResolvedTable(study="s", number="61", slug="rates", title="Rates", varies="lr", rows=(row,))
    elsewhere = trial("jpeg", {0: [0.1, 0.1, 0.1]}, config, key=row.key, tags=TAGS | {"data_fingerprint": "jpeg"})
    record = Recorded([*record.histories(), elsewhere], *record.sweeps(), sweep(more))
    record.files = files
    assert "At the best of 2 learning rates for each network, the test error is 0.3000" in page_of(tmp_path, record)


def test_diverged_losses_leave_no_number_and_the_report_is_made(tmp_path: Path) -> None:
    same = {0.1: [0.3, 0.31], 0.2: [0.3, 0.32]}
    record = envelopes({False: same, True: same}, {False: 3, True: 3})
    for losses in (record.files["envelope-x-0.2", TRACES], record.files["envelope-x-batch-norm-0.2", TRACES]):
        for values in losses.values():
            values[5:] = np.nan
    page = page_of(tmp_path, record)
    assert "| envelope-x | mean height | 2 | 0.1000 ± 0.0000 | nan |" in page


def test_the_best_learning_rate_may_stand_in_another_table(tmp_path: Path) -> None:
    """A rate is not among those that are compared where a training ended at chance."""
    record = envelopes({False: {0.1: [0.40], 0.2: [0.30]}, True: {0.1: [0.25], 0.2: [0.35]}}, {False: 3, True: 3})
    files = record.files
    better = Config(data="digits", epochs=3, lr=0.3)
    others = [better, better.change(lr=0.4, dropout=0.2), better.change(lr=0.5, epochs=5), better.change(lr=0.6)]
    rows = tuple(resolved_row(config.key("abc"), config) for config in others)
    more = ResolvedTable(study="s", number="61", slug="rates", title="Rates", varies="lr", rows=rows)
    trials = [
        trial("better", {0: [0.5, 0.4, 0.28]}, better),
        *(trial(f"other-{index}", {0: [0.1]}, config) for index, config in enumerate(others[1:3])),
        trial("at-chance", {0: [0.9, 0.9, 0.9]}, others[3]),
    ]
    record = Recorded([*record.histories(), *trials], *record.sweeps(), sweep(more))
    record.files = files
    page = page_of(tmp_path, record)
    assert (
        "At the best learning rate for each network, of 4 without batch norm and 2 with it, the test error is 0.2800 "
        "without batch norm (0.3) and 0.2500 with it (0.1): a difference of -0.0300 (1 seed). The best rate with batch "
        "norm is the lowest that was tried: a lower one may be better still."
    ) in page
    assert (
        "The best rate of a network has the lowest mean error over the seeds that all its rates have (1 without batch "
        "norm, 1 with it). A training ended at chance at 0.6 without it: these rates are left out. That choice makes "
        "both errors a little too low, and may shift their difference either way."
    ) in page
    assert "| 0.3 | 0.2800 | - | - | - | 0 |" in page
