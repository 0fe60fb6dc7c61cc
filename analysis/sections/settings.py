"""What was trained: the baseline's settings in full, and what each row of a table changes in them."""

from collections.abc import Sequence

from analysis.report_data import ReportData
from analysis.writing.all_trials import EVERYTHING
from analysis.writing.page import Absent, Grid, Section, Text
from trainable.config import Config
from trainable.measures import RUNGS
from trainable.study import ResolvedTable
from trainable.value_text import value_text

TITLE = "Settings"
ABOUT = (
    "Images are scaled to [-1, 1]. Weights start as PyTorch initialises them. Images are augmented only where the "
    "settings flip, shift and cutout say so. All this is up to the code of a training of one's own."
)

RANDOM = f"The random configurations of a search's calibration are in {EVERYTHING} alone."


def section(data: ReportData) -> Section | Absent:
    """The baseline's value and the meaning of each setting, and the changes by table and row."""
    base = _baseline(data.tables)
    if base is None:
        return Absent(TITLE, "no table with a baseline is recorded")
    fields = [
        (name, value_text(getattr(base, name), 4), " ".join((field.description or "").replace("`", "").split()))
        for name, field in Config.model_fields.items()
    ]
    tables = [table for table in data.tables if table.measure != RUNGS]
    rows = [(table.number, row.name, _changes(base, row.config)) for table in tables for row in table.rows]
    random = [Text(RANDOM)] if len(tables) < len(data.tables) else []
    return Section(
        TITLE,
        [Text(ABOUT)],
        [
            Section("The baseline", [Grid(("setting", "baseline", "meaning"), fields)]),
            Section("Changes by row", [Grid(("table", "row", "changes"), [row for row in rows if row[-1]]), *random]),
        ],
    )


def _baseline(tables: Sequence[ResolvedTable]) -> Config | None:
    """The course report's baseline where a row has it, else what the rows of the first table are compared with."""
    configs = {row.key: row.config for table in tables for row in table.rows}
    own = (configs[table.reference] for table in tables if table.reference in configs)
    return next((config for config in configs.values() if config.is_baseline), next(own, None))


def _changes(base: Config, config: Config) -> str:
    """What differs from the baseline; empty where nothing does."""
    values = base.flat()
    changed = {name: value for name, value in config.flat().items() if value != values.get(name)}
    return "; ".join(f"{name} {value_text(value, 4)}" for name, value in changed.items())
