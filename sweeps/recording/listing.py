"""Which runs a view shows, under which names and in which order: tags of the trials' runs.

MLflow filters, groups and orders runs by their tags alone. So every listing has two tags of its own: the name of the
row that a trial stands for, and the row's place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from analysis.record.recorded import RunStatus, TrialRecord
from trainable.study import ResolvedTable

PREFIX = "in_"
"""Tags of listings begin so."""


class ListedRow(NamedTuple):
    """A row of a view."""

    name: str
    place: str
    """Places in alphabetical order are in the rows' order."""


@dataclass(frozen=True)
class Listing:
    """The rows of a view."""

    tag: str
    """Tag of a trial: its row's name."""
    rows: Mapping[str, ListedRow]
    """By config key, in their order."""

    @property
    def order_tag(self) -> str:
        """Tag of a trial: its row's place."""
        return f"{self.tag}_order"

    def tags_of(self, key: str) -> dict[str, str]:
        """The tags of a trial of that config; empty where it is not listed."""
        row = self.rows.get(key)
        return {self.tag: row.name, self.order_tag: row.place} if row else {}


def in_order(names: Mapping[str, str]) -> dict[str, ListedRow]:
    """Rows of these names by config key, in the order given."""
    width = max(3, len(str(len(names))))
    return {key: ListedRow(name, f"{place:0{width}d}") for place, (key, name) in enumerate(names.items())}


def table_listing(table: ResolvedTable) -> Listing:
    """A table's rows. Rows of the same config are one."""
    names: dict[str, list[str]] = {}
    for row in table.rows:
        names.setdefault(row.key, []).append(row.name)
    return Listing(f"{PREFIX}table_{table.number}", in_order({key: ", ".join(same) for key, same in names.items()}))


def study_listing(tables: Iterable[ResolvedTable]) -> Listing:
    """The rows of all tables in the order of their numbers, each config once, under the name of its trials. A row's
    place is that of its first table and in it, so that a table that is new in front changes no tags but those of the
    rows that it shares."""
    rows: dict[str, ListedRow] = {}
    has_baseline = False
    for table in tables:
        for index, row in enumerate(table.rows):
            first_baseline = row.config.is_baseline and not has_baseline
            has_baseline |= first_baseline
            name = "baseline" if first_baseline else f"{table.slug}-{row.name}"
            rows.setdefault(row.key, ListedRow(name, f"{_padded(table.number)}-{index:04d}"))
    return Listing(f"{PREFIX}study", rows)


def _padded(number: str) -> str:
    """A table's number, as 4b, so that alphabetical order is its order: 000004b."""
    letters = number.lstrip("0123456789")
    return f"{number.removesuffix(letters):0>6}{letters}"


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
