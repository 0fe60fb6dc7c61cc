"""Who follows the trials of a sweep while they run, and the events that they are told of."""

from dataclasses import dataclass

from sweeps.fault import NO_FAULT, Fault
from trainable.trial import TrialEnd, TrialReport, TrialSpec


@dataclass(frozen=True)
class TrialStarted:
    """A trial was handed to an actor, for the first time or again."""

    trial_id: str
    spec: TrialSpec


@dataclass(frozen=True)
class TrialReported:
    """A trial reported epochs."""

    trial_id: str
    report: TrialReport


@dataclass(frozen=True)
class TrialRetried:
    """A trial failed, or lost its worker, and will be started again from its checkpoint."""

    trial_id: str
    fault: Fault


@dataclass(frozen=True)
class TrialEnded:
    """A trial is over."""

    trial_id: str
    end: TrialEnd
    fault: Fault = NO_FAULT
    """Why it failed."""


TrialEvent = TrialStarted | TrialReported | TrialRetried | TrialEnded


class Observer:
    """Follows trials: the recorder, the display, the count of how they ended. A subclass overrides `tell`, or of the
    other methods those of the events that it wants to hear of. Nothing in it may wait."""

    def tell(self, event: TrialEvent) -> None:
        """Hear of an event."""
        match event:
            case TrialStarted():
                self.trial_started(event.trial_id, event.spec)
            case TrialReported():
                self.trial_reported(event.trial_id, event.report)
            case TrialRetried():
                self.trial_retried(event.trial_id, event.fault)
            case TrialEnded():
                self.trial_ended(event.trial_id, event.end, event.fault)

    def trial_started(self, trial_id: str, spec: TrialSpec) -> None:
        """See `TrialStarted`."""

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        """See `TrialReported`."""

    def trial_retried(self, trial_id: str, fault: Fault) -> None:
        """See `TrialRetried`."""

    def trial_ended(self, trial_id: str, end: TrialEnd, fault: Fault) -> None:
        """See `TrialEnded`."""
