"""Every built-in study by name. A new one is a new entry here."""

from sweeps.studies.ablations import CORRECTIONS, TABLES
from sweeps.studies.batch_norm import BATCH_NORM_STUDIES
from sweeps.studies.search import SEARCH, SEARCH_LONG

STUDIES = {study.name: study for study in (TABLES, CORRECTIONS, *BATCH_NORM_STUDIES, SEARCH, SEARCH_LONG)}
