"""Who follows the trials of a sweep while they run: the recorder, the display, the count of how they ended."""

from dataclasses import dataclass

from trainable.trial import TrialEnd, TrialReport, TrialSpec


class Observer:
    """Follows trials. A subclass overrides what it wants to hear of; nothing in it may wait."""

    def trial_started(self, trial_id: str, spec: TrialSpec) -> None:
        """A trial was handed to an actor, for the first time or again."""

    def trial_reported(self, trial_id: str, report: TrialReport) -> None:
        """A trial reported epochs."""

    def trial_retried(self, trial_id: str, error: str) -> None:
        """A trial failed, or lost its worker, and will be started again from its checkpoint."""

    def trial_ended(self, trial_id: str, end: TrialEnd, error: str) -> None:
        """A trial is over. `error` is the text of what made it fail, else empty."""


@dataclass(frozen=True)
class TrialStarted:
    """See `Observer.trial_started`."""

    trial_id: str
    spec: TrialSpec


@dataclass(frozen=True)
class TrialReported:
    """See `Observer.trial_reported`."""

    trial_id: str
    report: TrialReport


@dataclass(frozen=True)
class TrialRetried:
    """See `Observer.trial_retried`."""

    trial_id: str
    error: str


@dataclass(frozen=True)
class TrialEnded:
    """See `Observer.trial_ended`."""

    trial_id: str
    end: TrialEnd
    error: str


TrialEvent = TrialStarted | TrialReported | TrialRetried | TrialEnded
"""What an observer is told, as it goes to another process."""


def tell(observer: Observer, event: TrialEvent) -> None:
    """Tell an observer of an event."""
    match event:
        case TrialStarted():
            observer.trial_started(event.trial_id, event.spec)
        case TrialReported():
            observer.trial_reported(event.trial_id, event.report)
        case TrialRetried():
            observer.trial_retried(event.trial_id, event.error)
        case TrialEnded():
            observer.trial_ended(event.trial_id, event.end, event.error)
