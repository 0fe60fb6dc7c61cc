"""What the driver and a worker say to each other about a trial: its spec, its reports, how it ended. No torch here."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from trainable.config import Config


class TrialSpec(BaseModel):
    """All that a process on any node needs to run a trial."""

    key: str
    name: str
    config: Config
    seeds: tuple[int, ...]
    fingerprint: str
    """The data's; a node with other data refuses the trial."""
    data_dir: str | None
    storage_path: str
    probe_every: int | None = None
    """Probe the loss along the gradient once in so many steps; changes nothing else."""
    report_at: tuple[int, ...] = ()
    """Epochs after which a report must end, so that a scheduler sees every trial at the same epochs."""
    tags: dict[str, str] = {}
    """What the record says of the trial beside its config."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch measured."""

    number: int
    """1-based."""
    seconds: float
    """The time to train and evaluate all seeds."""
    metrics: dict[str, list[float]]
    """Name to one value a seed. `train_loss`: mean loss of the epoch's batches while training. `train_error`,
    `val_error`, `test_error`: error rate over the whole split in evaluation mode, as the protocol says."""

    def mean(self, name: str) -> float:
        """The seeds' mean of a metric."""
        return sum(self.metrics[name]) / len(self.metrics[name])


class Environment(BaseModel):
    """What a trial runs on."""

    device: str
    """`cpu` or `cuda`."""
    device_name: str
    host: str
    python: str
    torch: str


class TrialReport(BaseModel):
    """What a running trial reports: the epochs since its last report, or since its first epoch in the first report of a
    process, which a resumed trial repeats."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # a diverged loss is NaN, and stays NaN in JSON

    epochs: tuple[Epoch, ...]
    done: bool
    """Whether the last epoch is among them."""
    environment: Environment | None = None
    """In the first report of a process only."""

    @property
    def last(self) -> Epoch:
        """The newest epoch."""
        return self.epochs[-1]


class TrialEnd(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    """Every epoch ran."""
    STOPPED = "stopped"
    """The search's scheduler stopped it early."""
    INTERRUPTED = "interrupted"
    """The sweep was stopped; the next one goes on from the trial's checkpoint."""
    FAILED = "failed"
    """It was given up after an error."""
