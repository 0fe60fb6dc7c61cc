"""The adapter to Ray Tune, and the only module here that knows Ray: a class trainable whose actor is reused.

Tune's own checkpoints belong to one experiment's folder. Ours belong to the trial's key, so whoever runs the trial
next goes on from them: a restarted actor, another node, or a later sweep.
"""

from typing import Any

from ray import tune

from trainable.storage import TrialSpec

REPORT_S = 1.0
"""Shorter epochs are reported together: a report costs the driver milliseconds."""


class TuneTrainable(tune.Trainable):
    """Trains the `TrialSpec` under `config["trial"]`, as JSON; its results are `Session.advance`'s reports."""

    def setup(self, config: dict[str, Any]) -> None:
        """Called once an actor."""
        import torch  # here, because the driver names this class and need not pay for torch

        resources = self.trial_resources
        torch.set_num_threads(max(1, int(resources.required_resources.get("CPU", 1))) if resources else 1)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial of this actor."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train for a while and report."""
        assert self._session is not None
        return self._session.advance(REPORT_S)

    def cleanup(self) -> None:
        """Called when Tune stops the trial: keep what it has."""
        if self._session is not None:
            self._session.save()

    def _begin(self, config: dict[str, Any]) -> None:
        from trainable.session import Session

        self._session: Session | None = None  # the last trial's memory is free before the next one asks for its own
        self._session = Session(TrialSpec.model_validate_json(config["trial"]))
