"""Parameters that set one element of a tuple, as the widths of a network."""

import re

import pytest
from pydantic import ValidationError

from sweeps.planning.rates import Rates
from sweeps.planning.resolve_search import resolve_search
from sweeps.planning.search_forecast import forecast_search
from sweeps.planning.search_plan import plan_search
from sweeps.studies.search import SEARCH, SEARCH_LONG, SEARCH_WIDE
from trainable.errors import UsageError
from trainable.search_definition import SearchDefinition
from trainable.search_space import Range, sample
from trainable.study import Study


def test_a_parameter_may_set_one_element_of_a_tuple() -> None:
    space = {"channels[0]": Range(low=4, high=64, log=True), "last": Range(low=8, high=32, field="hidden[1]")}
    study = Study(name="x", title="x", search=SearchDefinition(space=space))
    resolved = resolve_search(study, base={"epochs": 1}, samples=1, fingerprint="f")
    config = resolved.config({"channels[0]": 8, "last": 20})
    assert (config.channels, config.hidden) == ((8, 32), (128, 20)), "the other elements are the baseline's"
    assert resolved.point(config) == {"channels[0]": 8, "last": 20}
    assert resolved.covers(config, "f") and resolved.contains(config)
    assert not resolved.covers(config.change(channels=(8, 33)), "f")
    assert not resolved.contains(config.change(channels=(65, 32)))
    for values in sample(study.search.space, 20, seed=0):
        suggested = resolved.config(values)
        assert (suggested.channels[1], suggested.hidden[0]) == (32, 128)
        assert resolved.point(suggested) == values
        assert resolved.contains(suggested)


@pytest.mark.parametrize("name", ["channels[2]", "lr[0]", "channels[x]", "channels[-1]", "width"])
def test_what_is_no_field_and_no_element_of_one_is_refused(name: str) -> None:
    with pytest.raises(
        ValidationError, match=re.escape(f"{name} is unknown") + r".*; allowed: data, .*, channels\[0\], "
    ):
        SearchDefinition(space={"x": Range(field=name, low=4, high=64)})


def test_a_tuple_is_not_fixed_or_set_where_an_element_of_it_is_searched() -> None:
    space = {"channels[0]": Range(low=4, high=64)}
    with pytest.raises(ValidationError, match="channels: it is fixed and searched; leave it out of one"):
        SearchDefinition(space=space, fixed={"channels": (16, 64)})
    study = Study(name="x", title="x", search=SearchDefinition(space=space))
    with pytest.raises(UsageError, match="--set channels: the search of study x decides it"):
        plan_search(study, base={"channels": (16, 64)}, samples=1, fingerprint="f", trials=())


def test_the_wide_search_starts_with_the_reports_bigger_network_too() -> None:
    plan = plan_search(SEARCH_WIDE, base={}, samples=1, fingerprint="f", trials=())
    *configs, bigger = (plan.search.config(values) for values in plan.start)
    assert bigger.channels + bigger.hidden == (64, 128, 512, 512)
    assert {config.channels + config.hidden for config in configs} == {(16, 32, 128, 128)}
    narrow = plan_search(SEARCH, base={}, samples=1, fingerprint="f", trials=())
    assert [narrow.search.config(values) for values in narrow.start] == configs


def test_the_forecast_of_a_search_over_networks_is_that_of_random_ones() -> None:
    """Of a width up to 64 where the baseline's is 16: a random one is 32 wide in the mean, or so."""
    rates, space = Rates("cpu"), {"channels[0]": Range(low=4, high=64)}
    study = Study(name="x", title="x", search=SearchDefinition(space=space))
    wide = plan_search(study, base={}, samples=10, fingerprint="f", trials=())
    narrow = plan_search(SEARCH, base={}, samples=10, fingerprint="f", trials=())
    wide_s, narrow_s = (forecast_search(plan, rates, 1).forecast_s for plan in (wide, narrow))
    assert 1.5 < wide_s / narrow_s < 2.5


def test_the_forecast_of_a_search_counts_whole_trials() -> None:
    """More slots than trials bring nothing, and on a GPU a config's seeds train as one program."""
    plan = plan_search(SEARCH, base={}, samples=20, fingerprint="f", trials=(), proof_seeds=10)
    rates, on_gpu = Rates("cpu"), Rates("cuda")
    trial, proven = (rates.training_s(plan.search.base.change(protocol=each), 1) for each in "BA")
    one, many = (forecast_search(plan, rates, slots) for slots in (1, 640))
    assert one.forecast_s == pytest.approx(20 * trial / 2, abs=0.1), "ASHA stops most trials on the way"
    assert one.proof_s == pytest.approx(10 * proven, abs=0.1)
    race = plan.search.race
    assert one.race_s == pytest.approx(race.candidates * race.seeds * trial, abs=0.1)
    assert many.forecast_s == pytest.approx(trial, abs=0.1), "one of them runs to its end"
    assert many.proof_s == pytest.approx(proven, abs=0.1)
    assert many.race_s == pytest.approx((1 + race.seeds - race.first_test) * trial, abs=0.1), "round after round"
    fused_s = on_gpu.training_s(plan.search.base.change(protocol="A"), 10)
    assert forecast_search(plan, on_gpu, 640).proof_s == pytest.approx(fused_s, abs=0.1)
    assert one.slot_s == many.slot_s


def test_the_forecast_of_a_search_with_a_late_rung_is_at_least_what_comes_before_it() -> None:
    plan = plan_search(SEARCH_LONG, base={}, samples=10, fingerprint="f", trials=())
    rates, share = Rates("cpu"), plan.search.rungs[0] / plan.search.base.epochs
    assert share == 0.9
    expected_s = 10 * share * rates.training_s(plan.search.base, 1)
    assert forecast_search(plan, rates, 1).forecast_s == pytest.approx(expected_s, abs=0.1)
