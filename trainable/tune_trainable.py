"""The adapter to Ray Tune, and the only module here that knows Ray: a class trainable whose actor is reused.

Tune's own checkpoints belong to one experiment's folder. Ours belong to the trial's key, so whoever runs the trial
next goes on from them: a restarted actor, another node, or a later sweep.
"""

from collections.abc import Mapping
from typing import Any

from ray import tune

from trainable.trial import TrialReport, TrialSpec

SPEC, REPORT = "trial", "report"
"""Where Tune's configs hold a trial's spec and its results a report. Only here are they JSON."""
REPORT_S = 1.0
"""Shorter epochs are reported together: a report costs the driver milliseconds."""


class TuneTrainable(tune.Trainable):
    """Trains the `TrialSpec` that its config holds as JSON under `SPEC`; its results are those of `tune_result`."""

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
        return tune_result(self._session.advance(REPORT_S))

    def cleanup(self) -> None:
        """Called when Tune stops the trial: keep what it has."""
        if self._session is not None:
            self._session.save()

    def _begin(self, config: dict[str, Any]) -> None:
        from trainable.session import Session

        self._session: Session | None = None  # the last trial's memory is free before the next one asks for its own
        self._session = Session(spec_of(config))


def tune_config(spec: TrialSpec) -> dict[str, Any]:
    """What Tune hands to the trainable of a trial."""
    return {SPEC: spec.model_dump_json()}


def spec_of(config: Mapping[str, Any]) -> TrialSpec:
    """The inverse of `tune_config`."""
    return TrialSpec.model_validate_json(config[SPEC])


def tune_result(report: TrialReport) -> dict[str, Any]:
    """A report as Tune's result: the report itself as JSON, and what schedulers and searchers read beside it: `epoch`,
    `done`, and each metric's mean over the seeds after the last epoch."""
    last = report.last
    means = {name: last.mean(name) for name in last.metrics}
    return {**means, "epoch": last.number, "done": report.done, REPORT: report.model_dump_json()}


def report_of(result: Mapping[str, Any]) -> TrialReport:
    """The inverse of `tune_result`."""
    return TrialReport.model_validate_json(result[REPORT])
