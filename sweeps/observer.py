"""Who follows the trials of a sweep while they run: the recorder, the display, the count of how they ended."""

from dataclasses import dataclass
from typing import Any, Literal

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
class TrialEvent:
    """One call of an observer's method, to be made in another process."""

    method: Literal["trial_started", "trial_reported", "trial_retried", "trial_ended"]
    arguments: tuple[Any, ...]

    def tell(self, observer: Observer) -> None:
        """Make the call."""
        getattr(observer, self.method)(*self.arguments)
