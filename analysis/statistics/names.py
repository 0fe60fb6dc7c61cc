"""What rows and their references are called where they are compared."""

from collections.abc import Iterable, Sequence

from trainable.config import Config
from trainable.study import ResolvedRow, ResolvedTable

BASELINE_NAME = "baseline"


def reference_names(tables: Sequence[ResolvedTable]) -> dict[str, str]:
    """By key, the name that a config has where another one is compared with it: that of its row in the first table that
    has it, and `baseline` for a baseline."""
    names: dict[str, str] = {}
    for table in tables:
        for row in table.rows:
            names.setdefault(row.key, row_name(table, row, len(tables) > 1))
    return names | dict.fromkeys(compared_baselines(tables), BASELINE_NAME)


def changed_text(config: Config) -> str:
    """The name of a reference that is no row: what it changes in the baseline."""
    return config.text(config.ablation) or BASELINE_NAME


def row_name(table: ResolvedTable, row: ResolvedRow, several: bool) -> str:
    """A row's name, with what varies there and the table's number where there are several tables."""
    return f"{table.varies}: {row.name} (table {table.number})" if several else row.name


def compared_baselines(tables: Iterable[ResolvedTable]) -> set[str]:
    """The keys of the baselines that other rows are compared with. A baseline that a table compares with another one,
    as in another precision, is an effect."""
    return {row.key for table in tables for row in table.rows if row.config.is_baseline and row.key == table.reference}
