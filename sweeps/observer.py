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

    def tell(self, observer: Observer) -> None:
        """Tell an observer."""
        observer.trial_started(self.trial_id, self.spec)


@dataclass(frozen=True)
class TrialReported:
    """See `Observer.trial_reported`."""

    trial_id: str
    report: TrialReport

    def tell(self, observer: Observer) -> None:
        """Tell an observer."""
        observer.trial_reported(self.trial_id, self.report)


@dataclass(frozen=True)
class TrialRetried:
    """See `Observer.trial_retried`."""

    trial_id: str
    error: str

    def tell(self, observer: Observer) -> None:
        """Tell an observer."""
        observer.trial_retried(self.trial_id, self.error)


@dataclass(frozen=True)
class TrialEnded:
    """See `Observer.trial_ended`."""

    trial_id: str
    end: TrialEnd
    error: str

    def tell(self, observer: Observer) -> None:
        """Tell an observer."""
        observer.trial_ended(self.trial_id, self.end, self.error)


TrialEvent = TrialStarted | TrialReported | TrialRetried | TrialEnded
"""What an observer is told, as it goes to another process."""
