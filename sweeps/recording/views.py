"""The views of the MLflow UI that show a study: there without any set-up, from the UI's list of views or from a link.

Each answers a question that a person has; `docs/ui.md` lists them. They are made anew from the record when a sweep
starts and when it ends, so an experiment that was made before gets them, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from mlflow import MlflowClient
from mlflow.entities import RunTag

from analysis.importance import by_importance
from analysis.networks import BATCH_NORM
from analysis.proof import proof_tables
from analysis.record.mlflow_record import Record
from analysis.record.recorded import REFERENCE, SEED_EPOCH_S, TRAINING_S, VAL_ERROR, WINNER
from analysis.searches import RecordedSearch, recorded_searches
from analysis.tables import latest_tables
from sweeps.recording.kernel_images import AFTER_TRAINING, BY_EPOCH, has_kernels
from sweeps.recording.listing import PREFIX, Listing, in_order, listed, study_listing, table_listing, tags_to_change
from sweeps.recording.outage import despite_a_race
from sweeps.recording.tags import delete_tag
from sweeps.recording.ui_state import (
    RUN_COLOR,
    Chart,
    Section,
    View,
    bars,
    images,
    lines,
    metric,
    parallel,
    param,
    scatter,
    tag,
)
from trainable.measures import RUNGS
from trainable.search_definition import WINNER_ROW
from trainable.search_space import targets
from trainable.study import ResolvedRow, ResolvedTable

STUDY = "study"
"""Key of the view of the whole study, which a sweep's link opens."""
COSTS = (TRAINING_S, SEED_EPOCH_S, "peak_memory_mb", "cpu_share")
"""Metrics of what a training takes."""
WINNER_COLOR, REFERENCE_COLOR, OTHER_COLOR = "#D01F0B", "#1F272D", "#8BCAE7"
"""Colours of a search's trials in charts."""


@dataclass(frozen=True)
class Presentation:
    """What is to be written so that the UI shows the record as it is now."""

    experiment_id: str
    views: tuple[View, ...]
    tags: dict[str, dict[str, str | None]]
    """By run id: tags to set; None for one to delete."""
    prefixes: frozenset[str]
    """Those of the metrics' names, each up to the last slash."""

    def write(self, client: MlflowClient) -> None:
        """Write it. Repeating it writes the same."""
        for run_id, changes in self.tags.items():
            client.log_batch(run_id, tags=[RunTag(name, value) for name, value in changes.items() if value is not None])
            for name in (name for name, value in changes.items() if value is None):
                delete_tag(client, run_id, name)
        for age, view in enumerate(self.views, start=1):
            tag = view.tag(age, self.prefixes)
            despite_a_race(partial(client.set_experiment_tag, self.experiment_id, *tag))


def present(record: Record) -> Presentation:
    """The views of all that the record has. Its experiment must exist."""
    assert record.experiment_id is not None
    sweeps, trials = record.sweeps(), record.trials()
    tables = latest_tables(sweeps, {trial.key for trial in trials if trial.complete})
    compared = [table for table in tables if table.measure != RUNGS]  # a calibration's rows are random configs
    searches = [
        replace(found, own=tuple(record.with_histories(found.own, (VAL_ERROR,))))
        for found in recorded_searches(sweeps, trials)
        if found.own
    ]
    of_tables, whole, kernels = [*map(table_listing, tables)], study_listing(compared), _kernels(tables)
    rows = [row for table in compared for row in table.rows]
    views = [_errors(STUDY, "Study", whole, rows, ())]
    views += [
        _errors(f"table-{table.number}", table.heading, listing, table.rows, _varied(table))
        for table, listing in zip(tables, of_tables, strict=True)
    ]
    views += [*map(_search, searches), _kernel_images(kernels), _costs(whole)]
    of_errors, of_kernels = listed(trials), listed(filter(has_kernels, trials))
    changes = {}
    for trial in trials:
        listings = [*of_tables, whole] if trial.run_id in of_errors else []
        listings += [kernels] if trial.run_id in of_kernels else []
        changes[trial.run_id] = tags_to_change(trial, listings)
    for recorded in searches:
        for trial in recorded.own:
            changes[trial.run_id] |= {RUN_COLOR: _color(recorded, trial.run_id)}
    prefixes = frozenset(name.rpartition("/")[0] for trial in trials for name in trial.metrics if "/" in name)
    needed = {run_id: tags for run_id, tags in changes.items() if tags}
    return Presentation(record.experiment_id, tuple(views), needed, prefixes)


def _errors(key: str, title: str, listing: Listing, rows: Sequence[ResolvedRow], varied: Sequence[str]) -> View:
    """The rows of a listing, each as the mean of its seeds: what varies, the errors, the time. As charts: the errors by
    epoch, and the last and the smallest of them as bars."""
    errors = [*dict.fromkeys(row.config.held_out for row in rows), "train_error"]
    with_best = [name for error in errors for name in (error, f"best_{error}")]
    return _grouped(
        key,
        title,
        listing,
        (*map(param, varied), *map(metric, with_best), metric(TRAINING_S)),
        Section("Error by epoch", tuple(map(lines, errors))),
        Section("Last and smallest error", tuple(map(bars, with_best))),
    )


def _costs(listing: Listing) -> View:
    """What each row takes, as the mean of its seeds."""
    return _grouped(
        "cost",
        "Cost",
        listing,
        (param("epochs"), *map(metric, COSTS)),
        Section("Time, memory and use of the device", tuple(map(bars, COSTS))),
    )


def _grouped(key: str, title: str, listing: Listing, columns: tuple[str, ...], *sections: Section) -> View:
    return View(
        key=key,
        title=title,
        runs=f"{tag(listing.tag)} != ''",
        order=tag(listing.order_tag),
        columns=columns,
        sections=sections,
        group_by=listing.tag,
        groups=tuple(dict.fromkeys(row.name for row in listing.rows.values())),
    )


def _search(recorded: RecordedSearch) -> View:
    """Each trial of a search, that with the smallest validation error first."""
    search, base = recorded.search, recorded.search.base
    set_by = targets(search.space)
    varied = [set_by[name] for name in by_importance(recorded)]
    fields = list(dict.fromkeys(target.param for target in varied if target.index is None))  # no chart shows a tuple
    return View(
        key=f"search-{search.study}",
        title=f"Search. {search.title}",
        runs=f"{tag('study')} = '{search.study}' and {tag('seeds')} = '{list(search.seeds)}' "
        f"and {param('data')} = '{base.data}' and {param('epochs')} = '{base.epochs}'",
        order=metric(VAL_ERROR),
        columns=(
            *(tag(WINNER), tag(REFERENCE), metric(VAL_ERROR), metric("train_error")),
            *dict.fromkeys(param(target.param) for target in varied),
        ),
        sections=(
            Section("Parameters and validation error", (parallel(tuple(fields), VAL_ERROR),), columns=1),
            Section("Error by epoch, and by the two most important parameters",
                    (lines(VAL_ERROR), *(scatter(field, VAL_ERROR) for field in fields[:2])), columns=3),
        ),
    )  # fmt: skip


def _color(recorded: RecordedSearch, run_id: str) -> str:
    for marked, color in ((recorded.winner, WINNER_COLOR), (recorded.marked_start_point, REFERENCE_COLOR)):
        if marked and marked.run_id == run_id:
            return color
    return OTHER_COLOR


def _kernels(tables: Sequence[ResolvedTable]) -> Listing:
    """The proven winners of the searches, the baseline with batch norm, and the baseline: the UI draws the last one
    first."""
    rows = [row for table in tables for row in table.rows]
    names = {table.row(WINNER_ROW).key: "winner" for table in proof_tables(tables)}
    for name, ablation in (("batch norm", BATCH_NORM), ("baseline", {})):
        names |= dict.fromkeys([row.key for row in rows if row.config.ablation == ablation][:1], name)
    return Listing(f"{PREFIX}kernels", in_order(names))


def _kernel_images(listing: Listing) -> View:
    """The kernels of the first seed's training, those of all networks beside each other: after the training, and by
    epoch, from before the training on."""
    return View(
        key="kernels",
        title="Kernels",
        runs=f"{tag(listing.tag)} != '' and {tag('seeds')} LIKE '[0%'",
        order=tag(listing.order_tag),
        columns=(tag(listing.tag), metric("train_error")),
        sections=(
            _kernel_section("after the training", images(AFTER_TRAINING, 0)),
            _kernel_section("by epoch", images(BY_EPOCH, 0)),
        ),
        list_hidden=True,
    )


def _kernel_section(when: str, chart: Chart) -> Section:
    return Section(f"Kernels of the first layer {when}", (chart,), columns=1, height=420)


def _varied(table: ResolvedTable) -> list[str]:
    """Fields in which a table's rows differ by numbers. The UI shows no mean of others; the rows' names say them."""
    configs = [row.config.flat() for row in table.rows]
    fields = []
    for name in dict.fromkeys(name for config in configs for name in config):
        values = [config.get(name) for config in configs]
        if all(type(value) in (int, float) for value in values) and len(set(values)) > 1:
            fields.append(name)
    return fields
