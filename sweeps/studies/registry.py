"""Every built-in study by name. A new one is a new entry here."""

from collections.abc import Collection

from sweeps.studies.ablations import CORRECTIONS, TABLES
from sweeps.studies.batch_norm import BATCH_NORM_STUDIES
from sweeps.studies.search import SEARCH, SEARCH_LONG, SEARCH_WIDE
from trainable.study import PARAMETERS_NUMBER, Study

STUDIES = {study.name: study for study in (TABLES, CORRECTIONS, *BATCH_NORM_STUDIES, SEARCH, SEARCH_LONG, SEARCH_WIDE)}


def check_tables(studies: Collection[Study]) -> None:
    """Raise `ValueError` where two tables of these studies have one number or one slug, or one has that of the table of
    parameters."""
    owners: dict[str, str] = {}
    for study in studies:
        for number in study.table_numbers:
            if number == PARAMETERS_NUMBER:
                raise ValueError(
                    f"study {study.name}: table number {number!r} is that of the report's table of parameters; give it "
                    "another"
                )
            if number in owners:
                raise ValueError(
                    f"study {study.name}: table number {number!r} belongs to a table of study {owners[number]}; "
                    "give each its own (a search takes its number and the next two)"
                )
            owners[number] = study.name
    slugs: dict[str, str] = {}
    for study in studies:
        for table in study.tables:
            if table.slug in slugs:
                raise ValueError(
                    f"study {study.name}, table {table.number}: slug {table.slug!r} belongs to a table of study "
                    f"{slugs[table.slug]}; give each its own (a table without one has a slug made of its title)"
                )
            slugs[table.slug] = study.name
