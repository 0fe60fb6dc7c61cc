"""Which runs a view shows, under which names and in which order: tags of the trials' runs.

MLflow filters, groups and orders runs by their tags alone. So every listing has two tags of its own: the name of the
row that a trial stands for, and the row's place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from analysis.record.recorded import RunStatus, TrialRecord
from trainable.study import ResolvedTable

PREFIX = "in_"
"""Tags of listings begin so."""


@dataclass(frozen=True)
class Listing:
    """The rows of a view."""

    tag: str
    """Tag of a trial: its row's name."""
    rows: Mapping[str, str]
    """The rows' names by config key, in their order."""

    @property
    def order_tag(self) -> str:
        """Tag of a trial: its row's place. Places in alphabetical order are in the rows' order."""
        return f"{self.tag}_order"

    def tags_of(self, key: str) -> dict[str, str]:
        """The tags of a trial of that config; empty where it is not listed."""
        if key not in self.rows:
            return {}
        return {self.tag: self.rows[key], self.order_tag: self._places[key]}

    @cached_property
    def _places(self) -> dict[str, str]:
        width = max(3, len(str(len(self.rows))))
        return {key: f"{place:0{width}d}" for place, key in enumerate(self.rows)}


def table_listing(table: ResolvedTable) -> Listing:
    """A table's rows. Rows of the same config are one."""
    names: dict[str, list[str]] = {}
    for row in table.rows:
        names.setdefault(row.key, []).append(row.name)
    return Listing(f"{PREFIX}table_{table.number}", {key: ", ".join(same) for key, same in names.items()})


def study_listing(tables: Iterable[ResolvedTable]) -> Listing:
    """The rows of all tables, each config once, under the name of its trials."""
    names: dict[str, str] = {}
    for table in tables:
        for row in table.rows:
            first_baseline = row.config.is_baseline and "baseline" not in names.values()
            names.setdefault(row.key, "baseline" if first_baseline else f"{table.slug}-{row.name}")
    return Listing(f"{PREFIX}study", names)


def row_tags(listings: Iterable[Listing], key: str) -> dict[str, str]:
    """The tags of a trial of that config, of all listings."""
    return {name: value for listing in listings for name, value in listing.tags_of(key).items()}


def listed(trials: Iterable[TrialRecord]) -> set[str]:
    """The run ids of the trials that a view may show, of trials in the order of their start: for each config and seed
    the first that is complete, and those that run. One that failed or was interrupted is trained again."""
    ids, complete = set(), set[tuple[str, int]]()
    for trial in trials:
        trainings = {(trial.key, seed) for seed in trial.seeds}
        if trial.status == RunStatus.RUNNING or (trial.complete and not trainings <= complete):
            ids.add(trial.run_id)
        if trial.complete:
            complete |= trainings
    return ids


def tags_to_change(trial: TrialRecord, listings: Iterable[Listing]) -> dict[str, str | None]:
    """The tags that a recorded trial lacks or has with another value; None for those that it must lose."""
    wanted = row_tags(listings, trial.key)
    stale = dict.fromkeys(name for name in trial.tags if name.startswith(PREFIX) and name not in wanted)
    return stale | {name: value for name, value in wanted.items() if trial.tags.get(name) != value}


def without_listings(trial: TrialRecord) -> TrialRecord:
    """The trial as it leaves this record: listings are made anew where it is imported."""
    return replace(trial, tags={name: value for name, value in trial.tags.items() if not name.startswith(PREFIX)})
