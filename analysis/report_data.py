"""What the sections of the report share, read from the record and computed once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.agreement import agreements
from analysis.envelope import EnvelopeComparison, compare_envelopes
from analysis.prices import NO_PRICES, Prices
from analysis.proof import Proof, proofs
from analysis.record.arrays import correct_images
from analysis.record.recorded import DATA_FORM, RunStatus, Source, SweepRecord, TrialRecord
from analysis.record.replicates import Replicates, replicates
from analysis.searches import RecordedSearch, recorded_searches
from analysis.smoothness import SmoothnessArm, smoothness_arms
from analysis.statistics.effects import MARGIN, Effect, paired_effects
from analysis.statistics.interactions import Interaction, interactions
from analysis.tables import ReproducedTable, latest_tables, reproduce
from trainable.image_set import CIFAR10
from trainable.measures import RUNGS
from trainable.search_definition import proof_name
from trainable.study import ResolvedTable

LOSSY = ("JPEG", "WEBP", "GIF")
"""Image encodings that can change pixels, as the form of a data set names them."""


@dataclass(frozen=True)
class ReportData:
    """A record and what is computed from it. Each property is computed at its first use."""

    source: Source
    folder: Path
    """Where the report is written: sections put their pictures and CSV files here."""
    margin: float = MARGIN
    """Differences of the error that are smaller do not matter."""
    prices: Prices = NO_PRICES
    """Without them no money is shown."""

    @cached_property
    def sweeps(self) -> list[SweepRecord]:
        """Every sweep with its tables, oldest first."""
        return self.source.sweeps()

    @cached_property
    def all_trials(self) -> list[TrialRecord]:
        """Every trial with its histories, also those that failed, were interrupted or still run, oldest first."""
        return self.source.histories()

    @cached_property
    def trials(self) -> list[TrialRecord]:
        """The finished ones among them."""
        return [trial for trial in self.all_trials if trial.status == RunStatus.FINISHED]

    @cached_property
    def trainings(self) -> dict[str, Replicates]:
        """The complete trainings by key."""
        return replicates(self.trials)

    @cached_property
    def tables(self) -> list[ResolvedTable]:
        """Every table once, in the order of the numbers (see `latest_tables`)."""
        return latest_tables(self.sweeps, self.trainings)

    @cached_property
    def correct(self) -> dict[str, dict[int, np.ndarray]]:
        """Which held-out images the tables' trainings classify correctly, by key and seed: see `correct_images`."""
        keys = dict.fromkeys(
            key for table in self.tables for key in (*(row.key for row in table.rows), table.reference)
        )
        return {key: correct_images(self.source, self.trainings[key]) for key in keys if key in self.trainings}

    @cached_property
    def reproduced(self) -> list[ReproducedTable]:
        """The tables with their errors, without those whose measure says that they are not shown."""
        return reproduce([table for table in self.tables if table.measure.errors_shown], self.trainings, self.correct)

    @cached_property
    def effects(self) -> list[Effect]:
        """The effect of each ablation on the held-out error, the largest gain first."""
        return paired_effects(
            [table for table in self.tables if table.compares_errors], self.trainings, self.margin, self.correct
        )

    @cached_property
    def interactions(self) -> list[Interaction]:
        """Of every two changes that are trained alone and together, whether their effects add up."""
        return interactions([each for each in self.tables if each.measure != RUNGS], self.trainings, self.margin)

    @cached_property
    def envelopes(self) -> list[EnvelopeComparison]:
        """The loss envelopes, those of networks that were trained alike together."""
        return compare_envelopes(self.source, self.tables, self.trainings)

    @cached_property
    def smoothness(self) -> list[SmoothnessArm]:
        """The measurements along the gradient, by table and optimizer."""
        return smoothness_arms(self.source, self.tables, self.trainings)

    @cached_property
    def searches(self) -> list[RecordedSearch]:
        """The searches with their trials."""
        return recorded_searches(self.sweeps, self.all_trials)

    @cached_property
    def proofs(self) -> list[Proof]:
        """The proofs of the searches' winners."""
        goals = {proof_name(each.search.study): each.search.goal for each in self.searches if each.search.goal}
        return proofs(self.source, self.tables, self.trainings, self.margin, self.correct, goals)

    def proof_of(self, recorded: RecordedSearch) -> Proof | None:
        """The proof of a search's winner, or the search's proof where no winner is recorded. None where it is not
        trained: then that of an earlier winner may be (see `earlier_proof_of`)."""
        return next((proof for proof in self._proofs_of(recorded) if _is_of(proof, recorded.winner)), None)

    def earlier_proof_of(self, recorded: RecordedSearch) -> Proof | None:
        """The proof of an earlier winner of a search, where the recorded winner has none."""
        return None if self.proof_of(recorded) else next(iter(self._proofs_of(recorded)), None)

    def _proofs_of(self, recorded: RecordedSearch) -> list[Proof]:
        return [proof for proof in self.proofs if proof.table.study == proof_name(recorded.search.study)]

    @cached_property
    def shown_trainings(self) -> dict[str, Replicates]:
        """The trainings of the tables' rows by key."""
        shown = {row.key for table in self.tables for row in table.rows}
        return {key: training for key, training in self.trainings.items() if key in shown}

    @cached_property
    def shown_trials(self) -> list[TrialRecord]:
        """The trials behind the tables and the searches, with their races, each once."""
        in_tables = [trial for training in self.shown_trainings.values() for trial in training.trials]
        searched = [
            trial for found in self.searches for trial in (*found.own, *found.raced, *found.borrowed)
            if trial.key not in self.shown_trainings
        ]  # fmt: skip
        return in_tables + list({trial.run_id: trial for trial in searched}.values())

    @property
    def about_lossy(self) -> str:
        """That trials read their images from files that may be lossy copies, in sentences; empty where they do not."""
        forms = {trial.tags.get(DATA_FORM, "") for trial in self.shown_trials if trial.config.data == CIFAR10}
        if not (lossy := [name for name in LOSSY if any(name in form for form in forms)]):
            return ""
        compared = (
            " The course report used the official ones. How much of the differences comes from that was not tested."
        )
        return (
            f"Our images are copies of the official ones in an encoding that can change pixels ({', '.join(lossy)})."
            + compared * bool(agreements(self.reproduced))
        )

    @property
    def data_set(self) -> str:
        """The data set's name: that of the first table, or of the first search."""
        configs = [row.config for table in self.tables for row in table.rows]
        configs += [recorded.search.base for recorded in self.searches]
        return configs[0].data.name if configs else "no data"


def _is_of(proof: Proof, winner: TrialRecord | None) -> bool:
    """Whether a search's proof is of that winner. A proof trains on the whole train split: protocol A."""
    return winner is None or proof.winner.config == winner.config.change(protocol="A")
