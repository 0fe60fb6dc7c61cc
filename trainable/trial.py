"""The messages between driver and worker about a trial: its spec, its reports and how it ended. Imports no torch."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from trainable.config import Config
from trainable.frozen import Frozen

Device = Literal["cpu", "cuda"]
"""What a process computes on, as torch names it."""


class TrialSpec(Frozen):
    """Everything that a process on any node needs to run a trial."""

    key: str
    name: str
    config: Config
    seeds: tuple[int, ...]
    fingerprint: str
    """The fingerprint of the data. A node with other data refuses the trial."""
    data_dir: str | None
    """The folder or URI of the data, as for `trainable.data.load`."""
    experiment_folder: str
    """The folder or URI of the trial's experiment inside `--storage-path`, which all nodes can reach."""
    probe_every: int | None = None
    """Probe the loss along the gradient once in this many steps. This does not change the training."""
    predictions: bool = False
    """Whether the training leaves what it predicts for the held-out images."""
    report_s: float = 1.0
    """The least seconds between two reports. Each costs the driver milliseconds, so shorter epochs are reported
    together."""
    report_at: tuple[int, ...] = ()
    """Epochs after which a report must end, so that a scheduler sees every trial at the same epochs."""
    slowest_epoch_s: float = 0.0
    """How long an epoch may take on the slowest of processors: a worker that takes longer, and more than an hour, is
    taken for one that hangs."""
    storage_mark: str = ""
    """The folder or URI of a file that the driver has written into the storage: a node that does not see it has another
    folder of that name. Empty where it is not to be looked for."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of the trial's run in the record, besides its config."""


OWN = "own/"
"""How the name of a metric begins that a training of one's own returns. The UI shows them as a group."""


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch."""

    number: int
    """Counted from 1."""
    seconds: float
    """The time that training and evaluating all seeds took."""
    metrics: dict[str, list[float]]
    """One value for each seed, by metric. `train_loss` is the mean loss over the epoch's images, during training.
    `train_error` and, depending on the protocol, `val_error` or `test_error` are error rates over the whole split, in
    evaluation mode. Where weights are averaged, `raw_val_error` or `raw_test_error` is that without the average. What a
    training of one's own returns besides its loss has names that begin with `OWN`."""

    def mean(self, name: str) -> float:
        """The mean of a metric over the seeds."""
        return sum(self.metrics[name]) / len(self.metrics[name])


class Environment(Frozen):
    """The device, host and versions that a trial runs with."""

    device: Device
    device_name: str
    host: str
    python: str
    torch: str


class Usage(Frozen):
    """What one process took for one trial."""

    peak_memory_mb: float
    """The most MiB that it held at any time. On a GPU this is what torch reserved of the GPU's memory; what CUDA itself
    takes there, some hundred MiB, comes on top. On a CPU it is the resident memory, with the libraries."""
    cpu_share: float
    """Seconds of processor time by seconds of training: 1 for one core that is always busy. On a GPU this is the core
    that feeds it."""


class TrialReport(Frozen):
    """What a running trial reports: the epochs since its last report.

    A process reports from the first epoch on, so a resumed trial repeats the epochs before its checkpoint.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")  # a diverged loss is NaN, and stays NaN in JSON

    epochs: tuple[Epoch, ...]
    done: bool
    """Whether the trial's last epoch is among them."""
    environment: Environment | None = None
    """Set in the first report of a process only."""
    resumed: int = 0
    """How many epochs earlier processes had trained. Set in the first report of a process only."""
    usage: Usage | None = None
    """Set in the last report, where the system tells it."""
    warnings: tuple[str, ...] = ()
    """What a person should know of how the trial started in this process: a checkpoint that could not be used. Set in
    the first report of a process only."""

    @property
    def last(self) -> Epoch:
        """The newest epoch."""
        return self.epochs[-1]


class TrialEnd(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    """Every epoch ran."""
    STOPPED = "stopped"
    """The search's scheduler stopped it before its last epoch."""
    INTERRUPTED = "interrupted"
    """The sweep was stopped. The next sweep continues from the trial's checkpoint."""
    FAILED = "failed"
    """It was given up after errors."""
