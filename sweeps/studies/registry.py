"""Every built-in study by name. A new one is a new entry here."""

from collections.abc import Iterable

from sweeps.studies.ablations import CORRECTIONS, TABLES
from sweeps.studies.batch_norm import BATCH_NORM_STUDIES
from sweeps.studies.search import SEARCH, SEARCH_LONG, SEARCH_WIDE
from trainable.study import Study

STUDIES = {study.name: study for study in (TABLES, CORRECTIONS, *BATCH_NORM_STUDIES, SEARCH, SEARCH_LONG, SEARCH_WIDE)}


def check_numbers(studies: Iterable[Study]) -> None:
    """Raise `ValueError` where two tables of these studies have one number."""
    owners: dict[str, str] = {}
    for study in studies:
        for number in study.table_numbers:
            if number in owners:
                raise ValueError(
                    f"study {study.name}: table number {number!r} belongs to a table of study {owners[number]}; "
                    "give each its own (a search takes its number and the next two)"
                )
            owners[number] = study.name
