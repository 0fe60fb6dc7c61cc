"""Planning is pure: studies in, distinct configs out, minus what the record has."""

import pytest

from sweeps.planning.rates import Rates, Speedup, Timing, epoch_flops, makespan
from sweeps.planning.table_plan import TablePlan, plan_tables
from sweeps.running.specs import TrialContext
from sweeps.studies.ablations import CORRECTIONS, TABLES
from sweeps.studies.batch_norm import ENVELOPE, SMOOTHNESS, SURFACE, VGG
from trainable.config import Config
from trainable.errors import UsageError
from trainable.measures import ERRORS, LOSSES, PREDICTED_CLASSES, PROBE, Measure
from trainable.own_code.code_file import CodeFile
from trainable.study import Row, Study, Table


def plan(*studies: Study, **changes: object) -> TablePlan:
    """Of trials on a GPU, unless other rates are given."""
    arguments = {"base": {}, "fingerprint": "f", "seeds": 1, "recorded": {}, "rates": Rates("cuda")} | changes
    return plan_tables(list(studies), **arguments)  # type: ignore[arg-type]


def trials_of(made: TablePlan) -> int:
    return sum(len(config.trial_seeds) for config in made.to_run)


def errors_of(seeds: dict[str, set[int]]) -> dict[Measure, dict[str, set[int]]]:
    """A record with nothing but the errors of these."""
    return {ERRORS: seeds}


def test_the_reports_tables_are_24_rows_of_18_configs() -> None:
    made = plan(TABLES)
    assert sum(len(table.rows) for table in made.tables) == 24
    assert (len(made.configs), len(made.to_run), trials_of(made)) == (18, 18, 18)
    baseline = next(config for config in made.configs if config.name == "baseline")
    assert len(baseline.rows) == 7
    assert baseline.config == Config()


def test_corrections_and_envelope_add_six_configs_each() -> None:
    assert len(plan(TABLES, CORRECTIONS).configs) == 24
    assert len(plan(TABLES, ENVELOPE).configs) == 24
    assert len(plan(TABLES, CORRECTIONS, ENVELOPE).configs) == 30


def test_code_of_ones_own_is_tried_only_if_it_is_to_be_trained() -> None:
    """Code that was trained may fail here, as with other versions of what it imports."""
    file = CodeFile(file="net.py", code="import nowhere")
    row = Row(name="mine", change={"network": file})
    study = Study(name="x", title="x", tables=(Table(number="44", title="x", rows=(row,)),))
    key = Config(network=file).key("f")
    assert plan(study, recorded=errors_of({key: {0}})).to_run == []
    with pytest.raises(UsageError, match=r"table 44, row mine: network net.py: .*nowhere"):
        plan(study, recorded=errors_of({key: {0}}), seeds=2)


def test_trial_names_are_unique_and_order_is_longest_first() -> None:
    made = plan(TABLES, CORRECTIONS, ENVELOPE)
    assert len({config.name for config in made.configs}) == 30
    forecasts = [config.trial_s for config in made.to_run]
    assert forecasts == sorted(forecasts, reverse=True)
    assert made.to_run[0].name == "size-bigger"


def test_the_first_seeds_of_all_rows_of_the_same_length_train_before_the_second_ones() -> None:
    made = plan(TABLES, only=["2", "3"], seeds=2, rates=Rates("cpu"))
    specs = TrialContext("f", None, "nowhere").specs(made)
    assert [(spec.name, spec.seeds) for spec in specs] == [
        ("size-bigger", (0,)), ("size-bigger", (1,)), ("baseline", (0,)), ("loss-hinge", (0,)), ("baseline", (1,)),
        ("loss-hinge", (1,)), ("size-smaller", (0,)), ("size-smaller", (1,)),
    ]  # fmt: skip


def test_the_record_is_not_run_again_and_seeds_extend() -> None:
    keys = [config.key for config in plan(TABLES).configs]
    assert plan(TABLES, recorded=errors_of({key: {0} for key in keys})).to_run == []
    extended = plan(TABLES, seeds=5, recorded=errors_of({keys[0]: {0}, keys[1]: {0, 1, 2, 3, 4}}))
    assert extended.configs[0].seeds == (1, 2, 3, 4)
    assert extended.configs[0].recorded_seeds == (0,)
    assert extended.configs[1].seeds == ()
    assert extended.configs[2].seeds == (0, 1, 2, 3, 4)
    assert len(extended.configs) - len(extended.to_run) == 1


def test_seeds_that_gain_nothing_from_each_other_fill_more_slots() -> None:
    arguments = {"seeds": 3, "recorded": errors_of({plan(TABLES).configs[0].key: {0}}), "only": ["2"]}
    timings = tuple(Timing(Config(), device, seed_epoch_s=1.0) for device in ("cuda", "cpu"))
    together, apart = (plan(TABLES, rates=Rates(each.device, timings), **arguments) for each in timings)
    assert (trials_of(together), trials_of(apart)) == (3, 8)
    assert together.configs[0].trial_seeds == [(1, 2)]
    assert apart.configs[0].trial_seeds == [(1,), (2,)]
    three = together.wall_s(8) / 3
    assert apart.wall_s(8) == pytest.approx(three, rel=0.01), "the longest config's seeds run side by side"


def test_the_batch_norm_study_shares_its_trainings() -> None:
    made = plan(TABLES, ENVELOPE, SMOOTHNESS, SURFACE)
    assert len(made.configs) == 18 + 6 + 2
    assert {config.name for config in made.configs if config.probe_every} == {
        "baseline", "batch-norm-yes", "smoothness-cnn-plain, SGD 0.1", "smoothness-cnn-batch norm, SGD 0.1",
    }  # fmt: skip


def test_a_table_runs_what_was_recorded_without_what_it_measures() -> None:
    keys = [config.key for config in plan(SMOOTHNESS).configs]
    errors = {key: {0} for key in keys}
    assert len(plan(SMOOTHNESS, recorded={ERRORS: errors, LOSSES: errors}).to_run) == 4
    first, *others = keys
    assert {config.key for config in plan(SMOOTHNESS, recorded={PROBE: {first: {0}}}).to_run} == set(others)
    assert plan(SMOOTHNESS, recorded={PROBE: errors}).to_run == []
    both = plan(SMOOTHNESS, ENVELOPE, recorded={ERRORS: errors, PROBE: errors})
    shared = next(config for config in both.configs if config.name == "baseline")
    assert shared.seeds == (0,), "the envelope needs the losses of every step too"


def test_a_seed_is_trained_again_for_the_tables_that_ask_for_it_alone() -> None:
    """The proof asks for three seeds with their predictions, the tables for five seeds with their errors."""
    proof = Table(
        number="16", slug="proof", title="x", varies="x", rows=(Row(name="x"),), measure="predictions", seeds=3
    )
    key = Config().key("f")
    made = plan(TABLES, Study(name="p", title="p", tables=(proof,)), seeds=5, only=["3", "16"],
                recorded={ERRORS: {key: {0, 1, 2, 3}}, PREDICTED_CLASSES: {key: {0}}})  # fmt: skip
    assert next(config.seeds for config in made.configs if config.key == key) == (1, 2, 4)


def test_a_trials_forecast_does_not_depend_on_how_many_seeds_are_left() -> None:
    keys = [config.key for config in plan(TABLES, only=["3"]).configs]
    made = plan(TABLES, only=["3"], seeds=5, recorded=errors_of({keys[0]: {0, 1, 2}}), rates=Rates("cpu"))
    assert len({config.trial_s for config in made.configs}) == 1


def test_a_proof_trains_again_what_was_recorded_without_its_predictions() -> None:
    rows = (Row(name="reference"), Row(name="winner", change={"batch_norm": True}))
    table = Table(number="16", slug="proof", title="x", varies="x", rows=rows, measure="predictions", seeds=3)
    study = Study(name="proof", title="x", tables=(table,))
    reference, winner = (config.key for config in plan(study).configs)
    both = {reference: {0, 1, 2}, winner: {0, 1, 2}}
    recorded = {ERRORS: both, PREDICTED_CLASSES: both | {winner: {1}}}
    (again,) = plan(study, TABLES, recorded=recorded, only=["16", "7"]).to_run
    assert (again.key, again.seeds, again.predictions) == (winner, (0, 2), True)
    assert not any(config.predictions for config in plan(TABLES).configs)


def test_large_networks_are_short_on_a_cpu_unless_asked_otherwise() -> None:
    assert {each.config.epochs for each in plan(VGG, short=True).configs} == {1}
    assert {each.config.epochs for each in plan(VGG).configs} == {20}
    assert {each.config.epochs for each in plan(TABLES, short=True).configs} == {20}


def test_only_takes_the_numbered_tables() -> None:
    made = plan(TABLES, only=["3", "8"])
    assert [table.number for table in made.tables] == ["3", "8"]
    assert [config.name for config in made.configs] == ["baseline", "loss-hinge", "dropout-0.2", "dropout-0.5"]


def test_the_base_changes_every_config_and_its_key() -> None:
    made = plan(TABLES, base={"epochs": 3, "data": "digits"})
    assert {each.config.epochs for each in made.configs} == {3}
    assert not {config.key for config in made.configs} & {config.key for config in plan(TABLES).configs}


def test_a_row_with_an_invalid_field_is_named() -> None:
    table = Table(number="1", slug="x", title="x", varies="x", rows=(Row(name="bad", change={"optimizer": "adamm"}),))
    with pytest.raises(UsageError, match=r"table 1, row bad: config field 'optimizer': 'adamm' should be adam, "):
        plan(Study(name="mine", title="mine", tables=(table,)))


@pytest.mark.parametrize("measure", ["losses", "probe"])
def test_rows_that_are_compared_step_by_step_have_as_many_steps(measure: str) -> None:
    rows = (Row(name="small", change={"batch_size": 64}), Row(name="large"))
    table = Table(number="90", slug="batch", title="Batch size", varies="batch", rows=rows, measure=measure)
    with pytest.raises(UsageError, match="table 90, row large: batch_size, epochs and protocol must be those of row"):
        plan(Study(name="batch", title="Batch size", tables=(table,)))
    assert plan(Study(name="batch", title="Batch size", tables=(table.model_copy(update={"measure": ERRORS}),)))


def test_reported_figures_are_the_printed_ones() -> None:
    """Against the report, not against the code: the columns' sums over all rows but the baseline's copies."""
    rows = [row for table in TABLES.tables for row in table.rows if row.change]
    assert sum(row.reported.train_error for row in rows if row.reported) == pytest.approx(4.49926)
    assert sum(row.reported.test_error for row in rows if row.reported) == pytest.approx(6.62590)


def test_forecasts_learn_from_the_record() -> None:
    baseline, bigger = Config(), Config(channels=(64, 128), hidden=(512, 512))
    assert epoch_flops(baseline) == pytest.approx(0.80e12, rel=0.01)
    blind = Rates("cpu")
    assert blind.training_s(bigger, 1) > 10 * blind.training_s(baseline, 1)
    taught = Rates("cpu", (Timing(baseline, "cpu", 10.0), Timing(bigger, "cuda", 0.1)))
    assert taught.training_s(baseline, 3) == pytest.approx(600, rel=0.01)
    assert "1 recorded trials" in taught.basis
    assert taught.training_s(baseline, 0) == 0


def test_a_network_that_never_ran_is_forecast_from_the_one_nearest_in_size() -> None:
    baseline, bigger = Config(), Config(channels=(64, 128), hidden=(512, 512))
    vgg = Config(network="vgg-a", epochs=1)
    taught = Rates("cpu", (*[Timing(baseline, "cpu", 10.0)] * 3, Timing(bigger, "cpu", 100.0)))
    assert taught.flops(vgg) == pytest.approx(epoch_flops(bigger) / 100.0)
    assert taught.flops(Config(batch_norm=True)) == pytest.approx(epoch_flops(baseline) / 10.0)
    assert Rates("cpu", (Timing(vgg, "cpu", 600.0),)).training_s(vgg, 1) == pytest.approx(601.0)


def test_what_bf16_saves_is_learnt_from_networks_in_both_precisions_on_the_last_processor() -> None:
    fp32, bf16 = Config(), Config(precision="bf16")
    bigger = Config(channels=(64, 128), hidden=(512, 512))
    apart = (Timing(fp32, "cpu", 10.0, "slow"), Timing(bf16, "cpu", 2.0, "fast"), Timing(bigger, "cpu", 100.0, "fast"))
    assert Rates("cpu", apart).bf16_speedup() is None
    paired = (*apart, Timing(fp32, "cpu", 3.0, "fast"), Timing(fp32, "cuda", 9.0, "fast"))
    assert Rates("cpu", paired).bf16_speedup() == Speedup(1.5, "fast")
    later = (*paired, Timing(bf16, "cpu", 5.0, "slow"), Timing(fp32, "cpu", 10.0, "unpaired"))
    assert Rates("cpu", later).bf16_speedup() == Speedup(2.0, "slow")


def test_makespan_packs_the_longest_first() -> None:
    assert makespan([1, 1, 2], 2) == 2, "3 with the shortest first"
    assert makespan([3, 3, 2, 2, 2], 2) == 7
    assert makespan([5], 4) == 5
    assert makespan([], 2) == 0
