"""The adapter to Ray Tune: a class trainable whose actor is reused. It is the only module here that imports Ray.

Tune's own checkpoints belong to one experiment's folder. Ours belong to the trial's key, so that any process that runs
the trial next continues from them: a restarted actor, another node or a later sweep.
"""

import faulthandler
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ray import tune

from trainable.trial import Device, TrialReport, TrialSpec

if TYPE_CHECKING:
    from trainable.session import Session

SPEC, REPORT = "trial", "report"
"""The entry of a Tune config that holds a trial's spec, and the entry of a Tune result that holds a report, both as
JSON."""


class TuneTrainable(tune.Trainable):
    """Trains the trial that `tune_config` put into its config. Its results are made by `tune_result`.

    A step that hangs ends the process, so that Tune starts the trial again in another one, from its checkpoint.
    """

    FIRST_STEP_S = 3600.0
    """A trial's first step, which also prepares it, may take so long, or as its spec says for long epochs: nothing is
    known of its pace yet."""
    STEP_S = 600.0
    """Every further step may take so long, or `STEP_FACTOR` times as long as the longest before, whichever is more."""
    STEP_FACTOR = 20.0

    _spec: TrialSpec
    _session: "Session | None"
    """None until the trial's first step."""
    _longest_s: float | None
    """Seconds of the trial's longest step in this process."""

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare a new actor. Tune calls this once for each actor, with the config of its first trial."""
        import torch  # not at the top: the driver imports this module, and would pay for torch

        given = self.trial_resources.required_resources if self.trial_resources else {}
        torch.set_num_threads(max(1, int(given.get("CPU", 1))))
        self._device: Device = "cuda" if given.get("GPU") else "cpu"
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Give this actor its next trial."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train for about the spec's `report_s` seconds, at least one epoch, and report."""
        if self._longest_s is None or self._spec.config.has_own_training:  # its epochs need not be alike
            limit = max(self.FIRST_STEP_S, self._spec.slowest_epoch_s)
        else:
            limit = max(self.STEP_S, self.STEP_FACTOR * self._longest_s)
        with _watchdog(limit):
            if self._session is None:
                self._session = self._prepare()
            start = time.monotonic()
            result = tune_result(self._session.advance(self._spec.report_s))
        self._longest_s = max(self._longest_s or 0.0, time.monotonic() - start)
        return result

    def cleanup(self) -> None:
        """Write a checkpoint. Tune calls this when it stops the trial."""
        if self._session is not None:
            self._session.save()

    def _begin(self, config: dict[str, Any]) -> None:
        import torch

        self._spec, self._longest_s = spec_of(config), None
        self._session = None  # free the last trial's memory before the next trial needs its own
        torch.cuda.empty_cache()  # torch would keep it, and other trials that share the GPU would lack it

    def _prepare(self) -> "Session":
        """Load what the trial needs. This is part of its first step, because Tune tries a trial again where a step
        fails, and gives it up at once where an actor that is used again fails before."""
        from trainable.session import Session

        return Session(self._spec, self._device)


@contextmanager
def _watchdog(limit_s: float) -> Iterator[None]:
    """End this process, with its stack in its log, where what is inside takes longer. Python's watchdog thread does not
    need the interpreter's lock, so a hang in native code is ended, too."""
    faulthandler.dump_traceback_later(limit_s, exit=True, file=2)  # standard error, whatever Ray put there
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def tune_config(spec: TrialSpec) -> dict[str, Any]:
    """The Tune config of a trial."""
    return {SPEC: spec.model_dump_json(exclude_defaults=True)}


def spec_of(config: Mapping[str, Any]) -> TrialSpec:
    """The trial's spec from its Tune config. The inverse of `tune_config`."""
    return TrialSpec.model_validate_json(config[SPEC])


def tune_result(report: TrialReport) -> dict[str, Any]:
    """A report as a Tune result.

    Besides the report itself it has the entries that schedulers and searchers read: `epoch`, `done`, and every metric's
    mean over the seeds after the newest epoch.
    """
    last = report.last
    means = {name: last.mean(name) for name in last.metrics}
    return {**means, "epoch": last.number, "done": report.done, REPORT: report.model_dump_json()}


def report_of(result: Mapping[str, Any]) -> TrialReport:
    """The report from its Tune result. The inverse of `tune_result`."""
    return TrialReport.model_validate_json(result[REPORT])
