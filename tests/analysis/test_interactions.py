"""Whether the effects of two changes add up, by seed, for every two that are trained alone and together."""

from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from analysis.record.recorded import TrialRecord
from analysis.record.replicates import replicates
from analysis.statistics.interactions import Dependence, Interaction, interactions
from tests.analysis_records import Recorded, page_of, resolved_row, sweep, table, trial
from trainable.config import Config
from trainable.own_code.code_file import CodeFile
from trainable.study import ResolvedTable

BASE, NORM, RATE = Config(), Config(batch_norm=True), Config(lr=0.01)
BOTH = Config(batch_norm=True, lr=0.01)
ERRORS = {
    BASE: (0.30, 0.32, 0.31, 0.33),
    NORM: (0.28, 0.31, 0.29, 0.30),
    RATE: (0.40, 0.43, 0.41, 0.42),
    BOTH: (0.27, 0.30, 0.29, 0.28),
}
BY_SEED = (-0.11, -0.12, -0.10, -0.11)
"""Batch norm's effect at the other rate minus that at the baseline's."""


def trained(errors: dict[Config, tuple[float, ...]]) -> list[TrialRecord]:
    return [
        trial(str(number), {seed: [0.7, error] for seed, error in enumerate(of_config)}, config)
        for number, (config, of_config) in enumerate(errors.items())
    ]


def table_of(*configs: Config, reference: Config = BASE) -> ResolvedTable:
    rows = tuple(resolved_row(str(number), config) for number, config in enumerate(configs))
    return table().model_copy(update={"rows": rows, "reference": reference.key("abc")})


def found(errors: dict[Config, tuple[float, ...]], *tables: ResolvedTable) -> list[Interaction]:
    return interactions(tables or (table_of(*errors),), replicates(trained(errors)))


def test_the_difference_of_the_effects_is_tested_by_seed() -> None:
    (one,) = found(ERRORS)
    assert (one.change, one.other, one.seeds) == ("batch_norm true", "lr 0.01", (0, 1, 2, 3))
    assert one.differences == pytest.approx(BY_SEED)
    assert (one.alone, one.with_other) == pytest.approx((-0.02, -0.13))
    assert one.tests
    oracle = stats.ttest_1samp(BY_SEED, 0)
    assert one.t_holm == pytest.approx(oracle.pvalue)
    assert one.tests.interval == pytest.approx(oracle.confidence_interval())
    assert one.verdict is Dependence.DEPENDENT


def test_two_arguments_of_a_file_are_two_changes() -> None:
    file = CodeFile(file="net.py", code="")
    base, deep, wide, both = (
        Config(network=file, network_arguments={"depth": depth, "width": width, "kind": "a"})
        for depth, width in ((1, 8), (2, 8), (1, 16), (2, 16))
    )
    errors = dict(zip((base, deep, wide, both), ERRORS.values(), strict=True))
    (one,) = found(errors, table_of(*errors, reference=base))
    assert (one.change, one.other) == ("network.depth 2", "network.width 16")
    assert one.differences == pytest.approx(BY_SEED)
    arguments = {"depth": 2, "width": 16, "kind": "a"}
    other = Config(network=CodeFile(file="net.py", code="#"), network_arguments=arguments, lr=0.01)
    changed = {base: 0, other.change(lr=base.lr): 1, base.change(lr=0.01): 2, other: 3}
    errors = {config: list(ERRORS.values())[number] for config, number in changed.items()}
    (one,) = found(errors, table_of(*errors, reference=base))
    assert one.change.startswith("network net.py ") and "depth=2, width=16" in one.change, "another file is one change"


def test_effects_that_add_up_are_said_to() -> None:
    together = tuple(
        norm + rate - base for norm, rate, base in zip(ERRORS[NORM], ERRORS[RATE], ERRORS[BASE], strict=True)
    )
    noise = (0.001, -0.001, 0.001, -0.001)
    (one,) = found(ERRORS | {BOTH: tuple(map(sum, zip(together, noise, strict=True)))})
    assert one.verdict is Dependence.ADDITIVE


def test_four_trainings_count_once_whichever_of_them_are_references() -> None:
    (one,) = found(ERRORS, table_of(RATE), table_of(BOTH, reference=NORM))
    assert one.reference == BASE


def test_a_grid_without_the_references_values_is_compared_with_its_first_row() -> None:
    far = Config(lr=0.1, dropout=0.5)
    (one,) = found(ERRORS, table_of(*ERRORS, reference=far))
    assert one.reference == BASE
    assert one.differences == pytest.approx(BY_SEED)


def test_trainings_on_other_images_are_not_mixed() -> None:
    trials = trained(ERRORS)
    other = replace(trials[1], tags={**trials[1].tags, "data_fingerprint": "other"}, key=NORM.key("other"))
    rows = (*table_of(BASE, RATE, BOTH).rows, resolved_row("other", NORM).model_copy(update={"key": other.key}))
    mixed = table_of(BASE).model_copy(update={"rows": rows})
    assert interactions([mixed], replicates([trials[0], other, *trials[2:]])) == []


def test_nothing_is_said_where_one_of_the_four_is_missing_or_learned_nothing() -> None:
    assert found({config: errors for config, errors in ERRORS.items() if config != RATE}) == []
    assert found({BASE: ERRORS[BASE], Config(optimizer="momentum", momentum=0.5): ERRORS[BOTH]}) == []
    (one,) = found(ERRORS | {RATE: (0.40, 0.90, 0.41, 0.42)})
    assert (one.tests, one.t_holm, one.verdict) == (None, None, Dependence.AT_CHANCE)
    (one,) = found(ERRORS | {RATE: (0.40,)})
    assert (one.seeds, one.tests, one.verdict) == ((0,), None, Dependence.UNDECIDED)


def test_a_file_and_its_arguments_are_one_change() -> None:
    own = {
        "loss": CodeFile(file="own.py", code="def loss(network, images, labels, weight): ..."),
        "loss_arguments": {"weight": 1.0},
    }
    with_loss, with_both = Config(**own), Config(lr=0.01, **own)
    errors = {BASE: ERRORS[BASE], with_loss: ERRORS[NORM], RATE: ERRORS[RATE], with_both: ERRORS[BOTH]}
    (one,) = found(errors)
    assert one.change.startswith("loss own.py")
    assert one.change.endswith("loss_arguments weight=1.0")
    assert one.differences == pytest.approx(BY_SEED)


def test_the_page_has_each_of_them_or_says_why_there_is_none(tmp_path: Path) -> None:
    page = page_of(tmp_path, Recorded(trained(ERRORS), sweep(table_of(*ERRORS))))
    changes = "| batch_norm true | -0.0200 | lr 0.01 | -0.1300 | -0.1100 ± 0.0130 |"
    assert f"{changes} dependent | <0.001 | 4 |" in page
    page = page_of(tmp_path, Recorded(trained(ERRORS), sweep(table_of(NORM, RATE))))
    assert "| Interactions | no two changes are trained alone and together, for the same seed |" in page
