"""Every study by name. Adding one is adding it here."""

from sweeps.ablations import CORRECTIONS, TABLES
from sweeps.bn_study import ENVELOPE, SMOOTHNESS, SURFACE, VGG

STUDIES = {study.name: study for study in (TABLES, CORRECTIONS, ENVELOPE, SMOOTHNESS, SURFACE, VGG)}
