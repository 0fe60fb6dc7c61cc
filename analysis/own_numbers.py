"""The numbers that trainings of one's own return besides their loss, such as a gap or a count of steps."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.record.replicates import Replicates
from trainable.study import ResolvedTable
from trainable.trial import OWN

HEADER = ("row", "seed", "number", "value")


@dataclass(frozen=True)
class OwnNumbers:
    """The numbers of a table's rows after the last epoch."""

    names: tuple[str, ...]
    """In alphabetical order."""
    rows: Mapping[str, Mapping[str, Mapping[int, float]]]
    """By the row's name, the number's name and the seed. A row may lack a number."""

    def lines(self) -> list[tuple[str, int, str, float]]:
        """A line for each row, number and seed, with the header `HEADER`."""
        return [
            (row, seed, name, value)
            for row, numbers in self.rows.items()
            for name, by_seed in numbers.items()
            for seed, value in by_seed.items()
        ]


def own_numbers(table: ResolvedTable, trainings: Mapping[str, Replicates]) -> OwnNumbers | None:
    """The numbers of a table's rows; None where none of them has any."""
    rows = {row.name: _numbers(trainings[row.key]) for row in table.rows if row.key in trainings}
    names = {name for numbers in rows.values() for name in numbers}
    return OwnNumbers(tuple(sorted(names)), rows) if names else None


def _numbers(training: Replicates) -> dict[str, dict[int, float]]:
    metrics = {metric for trial in training.trials for metric in trial.metrics if metric.startswith(OWN)}
    return {metric.removeprefix(OWN): training.last_by_seed(metric) for metric in sorted(metrics)}
