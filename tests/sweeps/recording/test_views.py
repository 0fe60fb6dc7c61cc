"""The views of the UI select, by MLflow's own search, the runs that they name, in the order of their rows."""

import base64
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from analysis.record.mlflow_record import Record
from analysis.record.recorded import REFERENCE, ROLE
from sweeps.recording.note import started_note
from sweeps.recording.recorder import log_studies
from sweeps.recording.tracking import ensure_experiment
from sweeps.recording.trial_runs import config_params
from sweeps.recording.ui_state import PREFIX, RUN_COLOR, View
from sweeps.recording.views import REFERENCE_COLOR, WINNER_COLOR, Presentation, present
from tests.analysis_records import search
from trainable.config import Config
from trainable.measures import LOSSES, PREDICTED_CLASSES
from trainable.resolved_search import ResolvedSearch
from trainable.search_space import Range
from trainable.study import ResolvedRow, ResolvedTable

pytestmark = pytest.mark.usefixtures("made_record")

FINGERPRINT = "f"
PLAIN, NORM, SGD = (Config(data="digits", **change) for change in ({}, {"batch_norm": True}, {"optimizer": "sgd"}))


def table(number: str, rows: dict[str, Config]) -> ResolvedTable:
    resolved = tuple(ResolvedRow(name=name, key=c.key(FINGERPRINT), config=c) for name, c in rows.items())
    return ResolvedTable(study="tables", number=number, slug=f"t{number}", title="T", varies="v", rows=resolved)


class Experiment:
    """An experiment in a store of its own, whose runs have no tags for views yet."""

    def __init__(self, folder: Path) -> None:
        self._uri = f"sqlite:///{folder}/mlflow.db"
        self._client, self._id = ensure_experiment(self._uri, "test")

    def sweep(self, *tables: ResolvedTable, searches: Sequence[ResolvedSearch] = ()) -> str:
        run = self._client.create_run(self._id, run_name="sweep", tags={ROLE: "sweep"}).info.run_id
        log_studies(self._client, run, tables, searches, None)
        return run

    def trial(
        self, sweep: str, name: str, config: Config, seed: int, *, complete: bool = True, files: str = "", **more: str
    ) -> str:
        tags = {
            ROLE: "trial", "key": config.key(FINGERPRINT), "config": json.dumps(config.canonical()),
            "seeds": f"[{seed}]", MLFLOW_PARENT_RUN_ID: sweep, "outcome": "complete" if complete else "failed",
            "files": files, **more,
        }  # fmt: skip
        run = self._client.create_run(self._id, run_name=name, tags=tags).info.run_id
        self._client.log_batch(run, params=config_params(config))
        if config.protocol == "B":
            self._client.set_tag(run, "study", "search")
            self._client.set_tag(run, "table", "search")
            self._client.set_tag(run, "data_fingerprint", FINGERPRINT)
            self._client.log_metric(run, "val_error", 0.3, step=config.epochs)
        self._client.set_terminated(run, "FINISHED" if complete else "FAILED")
        return run

    def color(self, run_id: str) -> str | None:
        return self._client.get_run(run_id).data.tags.get(RUN_COLOR)

    def presentation(self) -> Presentation:
        return present(Record(self._uri, "test"))

    def show(self) -> None:
        self.presentation().write(self._client)

    def write(self, view: View) -> None:
        Presentation(self._id, (view,), {}, frozenset()).write(self._client)

    def view(self, key: str) -> dict[str, Any]:
        envelope = json.loads(self._client.get_experiment(self._id).tags[PREFIX + key])
        return json.loads(zlib.decompress(base64.b64decode(envelope["state"].removeprefix("deflate;"))))

    def shown(self, key: str) -> list[tuple[str, str]]:
        """The line and the seed of each run that a view shows, in its order."""
        view, client = self.view(key), MlflowClient(self._uri)
        group = view["groupBy"]["groupByKeys"][0]["groupByData"] if view["groupBy"] else "mlflow.runName"
        runs = client.search_runs([self._id], view["searchFilter"], order_by=[f"{view['orderByKey']} ASC"])
        return sorted(((run.data.tags[group], run.data.tags["seeds"]) for run in runs), key=lambda line: line[1])


@pytest.mark.parametrize(("rows", "folded"), [(10, 10), (5000, 0)])
def test_a_view_of_more_rows_than_a_tag_can_hold_folds_none(rows: int, folded: int, tmp_path: Path) -> None:
    names = tuple(f"row {number}: {number**7 % 999_983}" for number in range(rows))
    made = Experiment(tmp_path)
    made.write(View("study", "Study", runs="", order="", columns=(), sections=(), group_by="row", groups=names))
    assert len(made.view("study")["groupsExpanded"]) == folded


def test_an_experiment_that_was_made_before_gets_views_of_its_tables(tmp_path: Path) -> None:
    made = Experiment(tmp_path)
    sweep = made.sweep(table("4", {"yes": NORM, "no": PLAIN}), table("4b", {"Adam": PLAIN, "SGD": SGD}))
    for name, config in (("baseline", PLAIN), ("t4-yes", NORM), ("t4b-SGD", SGD)):
        for seed in (0, 1):
            made.trial(sweep, name, config, seed)
    made.show()
    both = ("[0]", "[1]")
    assert made.shown("table-4") == [(name, seed) for seed in both for name in ("yes", "no")]
    assert made.shown("table-4b") == [(name, seed) for seed in both for name in ("Adam", "SGD")]
    assert made.shown("study") == [(name, seed) for seed in both for name in ("t4-yes", "baseline", "t4b-SGD")]
    assert "tag.in_table_4.no" in made.view("table-4")["groupsExpanded"], "each row is one folded line"


def test_a_table_in_front_changes_no_tag_of_the_other_tables_runs(tmp_path: Path) -> None:
    """A record of thousands of runs would be written anew before the first trial."""
    made = Experiment(tmp_path)
    sweep = made.sweep(table("12", {"plain": PLAIN, "sgd": SGD}), table("12b", {"norm": NORM}))
    for name, config in (("plain", PLAIN), ("sgd", SGD), ("norm", NORM)):
        made.trial(sweep, name, config, 0)
    made.show()
    front = table("2", {"slow": PLAIN.change(lr=0.5)})
    new = made.trial(made.sweep(front), "slow", front.rows[0].config, 0)
    assert set(made.presentation().tags) == {new}
    made.show()
    assert [line for line, _ in made.shown("study")] == ["t2-slow", "baseline", "t12-sgd", "t12b-norm"]


def test_a_view_follows_its_table_and_leaves_failed_and_repeated_trials_out(tmp_path: Path) -> None:
    made = Experiment(tmp_path)
    sweep = made.sweep(table("4", {"no": PLAIN, "yes": NORM}))
    for _ in range(2):  # a seed that was trained twice must not count twice in its row's mean
        made.trial(sweep, "baseline", PLAIN, 0)
    made.trial(sweep, "t4-yes", NORM, 0, complete=False)
    made.show()
    assert made.shown("table-4") == [("no", "[0]")]
    again = made.sweep(table("4", {"norm": NORM, "SGD": SGD}))
    made.trial(again, "t4-norm", NORM, 0)
    made.trial(again, "t4-SGD", SGD, 0)
    made.show()
    assert made.shown("table-4") == [("norm", "[0]"), ("SGD", "[0]")]


def test_kernels_are_those_of_trials_whose_kernels_are_recorded(tmp_path: Path) -> None:
    """An export has kernels of some of a config's trainings, and a table may have the baseline in another precision."""
    made = Experiment(tmp_path)
    proof = table("16", {"reference": NORM, "winner": SGD}).model_copy(update={"measure": PREDICTED_CLASSES})
    half = PLAIN.change(precision="bf16")
    sweep = made.sweep(table("4", {"yes": NORM, "no": PLAIN}), table("12", {"bf16": half}), proof)
    made.trial(sweep, "first", PLAIN, 0)
    made.trial(sweep, "losses alone", PLAIN, 0, files="traces.safetensors")
    made.trial(sweep, "exported", PLAIN, 0, files="traces.safetensors layers.safetensors")
    for name, config in (("norm", NORM), ("winner", SGD), ("half", half)):
        made.trial(sweep, name, config, 0, files="weights.safetensors traces.safetensors")
    made.show()
    assert [name for name, _ in made.shown("kernels")] == ["winner", "norm", "exported"]


def test_the_view_of_a_search_over_widths_has_the_parameters_that_its_trials_have(tmp_path: Path) -> None:
    made = Experiment(tmp_path)
    space = {"channels[0]": Range(low=4, high=64), "dropout": Range(low=0.0, high=0.5)}
    definition = search(space, fingerprint=FINGERPRINT)
    sweep = made.sweep(searches=[definition])
    for number, width in enumerate((8, 16), start=1):
        values = {"channels[0]": width, "dropout": 0.1 * number}
        made.trial(sweep, f"search-00{number}", definition.config(values), 0)
    made.show()
    view = made.view("search-search")
    assert {"params.`channels`", "params.`dropout`"} < set(view["selectedColumns"])
    charts = [chart for chart in view["compareRunCharts"] if chart["type"] in ("PARALLEL", "SCATTER")]
    assert [chart.get("selectedParams", [chart.get("xaxis", {}).get("key")]) for chart in charts] == [["dropout"]] * 2


def test_the_start_point_is_marked_where_it_finished_and_not_where_it_was_stopped(tmp_path: Path) -> None:
    made = Experiment(tmp_path)
    definition = search({"dropout": Range(low=0.0, high=0.5)}, fingerprint=FINGERPRINT)
    sweep = made.sweep(searches=[definition])
    config, best = definition.config({"dropout": 0.1}), definition.config({"dropout": 0.2})
    stopped = made.trial(sweep, "search-001", config, 0, complete=False, **{REFERENCE: "yes"})
    winner = made.trial(sweep, "search-002", best, 0)
    finished = made.trial(sweep, "search-001", config, 0, **{REFERENCE: "yes"})
    made.show()
    assert [made.color(run) for run in (stopped, winner, finished)] == [None, WINNER_COLOR, REFERENCE_COLOR]


def test_the_description_of_a_sweep_names_its_tables_beside_its_search() -> None:
    """A proof has seeds of its own, and tables may have epochs of their own."""
    short = PLAIN.change(epochs=1)
    envelope = table("9", {"yes": NORM, "short": short}).model_copy(update={"measure": LOSSES})
    proof = table("16", {"reference": NORM, "winner": SGD}).model_copy(update={"measure": PREDICTED_CLASSES})
    note = started_note([envelope, proof], [search({"lr": Range(low=0.1, high=1.0)})], 3)
    assert "Tables 9 (T): 3 seeds, 1 or 20 epochs on digits; A search: 20 samples" in note
