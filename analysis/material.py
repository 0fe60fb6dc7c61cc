"""What a report is made of, read from the record once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from analysis.effects import Effect, effects
from analysis.findings import BATCH_NORM
from analysis.record import Source, TrialRecord
from analysis.replicates import Replicates, replicates
from analysis.searching import base_of
from analysis.tables import ReproducedTable, latest_tables, reproduce
from trainable.config import Config
from trainable.study import ResolvedTable


@dataclass(frozen=True)
class Material:
    """What a report is made of."""

    source: Source
    folder: Path

    @cached_property
    def histories(self) -> list[TrialRecord]:
        """Every finished trial, with its whole history."""
        return self.source.histories()

    @cached_property
    def found(self) -> dict[str, Replicates]:
        """The complete trainings by key."""
        return replicates(self.histories)

    @cached_property
    def tables(self) -> list[ResolvedTable]:
        """Every table once, see `latest_tables`."""
        return latest_tables(self.source.sweeps(), self.found)

    @cached_property
    def compared(self) -> list[ResolvedTable]:
        """The tables whose errors are shown: a surface's networks are those of other tables."""
        return [table for table in self.tables if not table.measures.after_training]

    @cached_property
    def filled(self) -> list[ReproducedTable]:
        """The tables of errors with what was reproduced."""
        return reproduce(self.compared, self.histories)

    @cached_property
    def effects(self) -> list[Effect]:
        """Each ablation's effect."""
        return effects([table for table in self.tables if not table.measure], self.found)

    @cached_property
    def searched(self) -> list[TrialRecord]:
        """The finished trials of the latest search: those that share its data and what it does not vary."""
        trials = [trial for trial in self.histories if trial.tags.get("study") == "search"]
        return [trial for trial in trials if base_of(trial) == base_of(trials[-1])]

    @cached_property
    def searched_for(self) -> Replicates | None:
        """The report's own batch-norm config, trained on the search's data for as long, where that is recorded."""
        if not self.searched:
            return None
        tags, config = self.searched[-1].tags, self.searched[-1].config
        own = Config(data=config.data, epochs=config.epochs, precision=config.precision, **BATCH_NORM)
        return self.found.get(own.key(tags.get("data_fingerprint", "")))

    @property
    def data(self) -> str:
        """The data set."""
        tabled = [row.config.data for table in self.tables for row in table.rows]
        return next(iter([*tabled, *(trial.config.data for trial in self.searched)]), "no data")
