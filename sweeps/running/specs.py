"""The specs of a sweep's trials."""

from collections.abc import Iterable
from dataclasses import dataclass

from analysis.record.recorded import PROBED, ROW, STUDY, TABLE
from sweeps.planning.rates import epoch_flops
from sweeps.planning.table_plan import TablePlan
from sweeps.recording.listing import row_tags, study_listing, table_listing
from trainable.config import Config
from trainable.errors import UsageError
from trainable.trial import TrialSpec

REPORTS_A_SECOND = 100
"""The most reports a second that all trials together may send, not counting those at the end of a trial or at a rung:
each costs the driver milliseconds."""
SLOWEST_FLOPS = 5e9
"""Floating-point operations a second, a twelfth of what a core is taken for that nothing is known of: a worker with
less is taken for one that hangs."""

PASSES = 25
"""How often a step of one's own may pass its batch through the network, as L-BFGS does, before its worker is taken for
one that hangs."""
SLOWEST_OWN_EPOCH_S = 24 * 3600.0
"""How long an epoch of a training of one's own may take, of which nothing is known."""


@dataclass(frozen=True)
class TrialContext:
    """Where the trials of a sweep find their data and keep their files, and how often they report."""

    fingerprint: str
    """The data's."""
    data_dir: str | None
    experiment_folder: str
    """See `TrialSpec`."""
    slots: int = 1
    """How many trials run at the same time."""
    storage_mark: str = ""
    """See `TrialSpec`."""

    def spec(
        self,
        config: Config,
        *,
        name: str,
        seeds: tuple[int, ...],
        tags: dict[str, str],
        probe_every: int | None = None,
        predictions: bool = False,
        report_at: tuple[int, ...] = (),
    ) -> TrialSpec:
        """The spec of one trial."""
        return TrialSpec(
            key=config.key(self.fingerprint),
            name=name,
            config=config,
            seeds=seeds,
            fingerprint=self.fingerprint,
            data_dir=self.data_dir,
            experiment_folder=self.experiment_folder,
            probe_every=probe_every,
            predictions=predictions,
            report_s=max(1.0, self.slots / REPORTS_A_SECOND),
            report_at=report_at,
            slowest_epoch_s=_slowest_epoch_s(config, len(seeds)),
            storage_mark=self.storage_mark,
            tags=tags,
        )

    def specs(self, tables: TablePlan) -> list[TrialSpec]:
        """The specs of the trials that a plan has left to run, those of the longest trials first. Of equally long ones
        the first seeds of all rows come first: a sweep that is stopped half-way has compared all of them."""
        listings = [*map(table_listing, tables.tables), study_listing(tables.tables)]
        trials = [(planned, seeds) for planned in tables.to_run for seeds in planned.trial_seeds]
        specs: list[TrialSpec] = []
        for planned, seeds in sorted(trials, key=lambda trial: (-trial[0].trial_s, trial[1])):
            tags = {
                STUDY: _joined(table.study for table in planned.tables),
                TABLE: _joined(table.number for table in planned.tables),
                ROW: _joined(planned.rows),
                **row_tags(listings, planned.key),  # the UI shows the trial while it runs
            }
            if planned.probe_every:
                tags[PROBED] = str(planned.probe_every)
            specs.append(
                self.spec(
                    planned.config,
                    name=planned.name,
                    seeds=seeds,
                    tags=tags,
                    probe_every=planned.probe_every,
                    predictions=planned.predictions,
                )
            )
        return specs


def _slowest_epoch_s(config: Config, seeds: int) -> float:
    """See `TrialSpec`; 0 for a network of one's own that cannot be built: the worker says why."""
    if config.has_own_training:
        return SLOWEST_OWN_EPOCH_S
    try:
        return seeds * epoch_flops(config) * (PASSES if config.has_own_step else 1) / SLOWEST_FLOPS
    except UsageError:
        return 0.0


def _joined(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
