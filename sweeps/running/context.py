"""What all trials of one sweep share."""

from dataclasses import dataclass

from trainable.config import Config
from trainable.trial import TrialSpec


@dataclass(frozen=True)
class TrialContext:
    """Where the trials of a sweep find their data and keep their files."""

    fingerprint: str
    """The data's."""
    data_dir: str | None
    storage_path: str

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
            storage_path=self.storage_path,
            probe_every=probe_every,
            predictions=predictions,
            report_at=report_at,
            tags=tags,
        )
