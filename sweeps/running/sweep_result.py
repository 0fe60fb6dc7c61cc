"""How a sweep ended."""

from dataclasses import dataclass

from analysis.record.recorded import RunStatus
from sweeps.planning.sweep_plan import SweepPlan
from sweeps.running.trials import TrialCount


@dataclass
class SweepResult:
    """How a sweep ended."""

    plan: SweepPlan
    """What it was to run, on the devices that it found."""
    failed: int = 0
    """Trials given up."""
    interrupted: bool = False
    """Whether it was stopped before all trials had ended."""
    undelivered: str = ""
    """Why some of it could not be written to the record; empty where all was."""
    broken: bool = False
    """Whether something else failed, as what is computed from the finished trials: a surface, the winner's test, the
    report."""

    @property
    def status(self) -> RunStatus:
        """The MLflow status of the sweep's run."""
        if self.interrupted:
            return RunStatus.KILLED
        return RunStatus.FAILED if self.failed or self.broken or self.undelivered else RunStatus.FINISHED

    def add(self, count: TrialCount) -> None:
        """Add how some of its trials ended."""
        self.failed += count.failed
        self.interrupted |= count.interrupted
