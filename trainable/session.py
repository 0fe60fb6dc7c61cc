"""One trial in one process: training, checkpoints and results. It continues where an earlier process stopped."""

import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from safetensors.torch import save as to_safetensors

from trainable.data import load_same
from trainable.device import is_out_of_gpu_memory, is_out_of_memory
from trainable.errors import first_line
from trainable.storage import CHECKPOINT, FORMER_CHECKPOINT, DamagedFileError, TrialStorage, check_mark
from trainable.training import Trainer
from trainable.trial import Device, TrialReport, TrialSpec
from trainable.usage import Meter, environment

CHECKPOINT_S = 2.0
"""The least time between two checkpoints. A killed trial loses about as much of its training, or one epoch."""
CHECKPOINT_SHARE = 0.02
"""The largest share of a trial's time that checkpoints may take. Where they are large or the storage is slow, they
become rarer."""

logger = logging.getLogger(__name__)


class Session:
    """A trial in this process. It continues from the trial's newest checkpoint that can be used, if there is one.

    Raises `StorageError` where this node does not share the sweep's storage, `DataError` where it cannot load the data
    or has other data than the sweep, `DeviceError` for a GPU that torch cannot use, and `MemoryError` where there is
    too little memory for the training or to load a checkpoint.
    """

    def __init__(self, spec: TrialSpec, device: Device = "cpu") -> None:
        if spec.storage_mark:
            check_mark(spec.storage_mark)
        data = load_same(spec.config.data.name, spec.data_dir, spec.fingerprint)
        self._spec = spec
        self._storage = TrialStorage(spec.experiment_folder, spec.key, spec.seeds)
        self._warnings: list[str] = []
        with _explained(spec):
            self._trainer = self._resume(
                partial(Trainer, spec.config, data, spec.seeds, device, probe_every=spec.probe_every)
            )
        self._meter = Meter(self._trainer.device)
        self._within_an_epoch = False
        self._failure: Exception | None = None
        """What ended the training, until the epochs before it are reported."""
        self._reported_epochs = 0
        self._resumed_epochs = self._saved_epochs = len(self._trainer.history)
        self._save_due = time.monotonic() + CHECKPOINT_S
        for warning in self._warnings:
            logger.warning("%s: %s", spec.name, warning)

    def advance(self, budget_s: float) -> TrialReport:
        """Train at least one epoch, until `budget_s` seconds have passed or an epoch of the spec's `report_at` is
        reached, and report. Epochs that an earlier process had trained are reported first, and end at the same epochs.

        After the last epoch the trial's results are written. Raises what an epoch raises, and `MemoryError`, saying
        what to change, where the training does not fit in the GPU's memory. Where there are epochs to report before it,
        they are returned, and the next call raises it.
        """
        if self._failure:
            raise self._failure
        trainer, start = self._trainer, time.monotonic()
        passed = [at for at in self._spec.report_at if self._reported_epochs < at <= self._resumed_epochs]
        while not trainer.done and not passed:
            try:
                self._run_epoch()
            except Exception as error:
                if self._reported_epochs == len(trainer.history):
                    raise
                self._failure = error
                break
            if time.monotonic() > self._save_due and not trainer.done:
                self.save()
            if time.monotonic() - start > budget_s or len(trainer.history) in self._spec.report_at:
                break
        end = min(passed, default=len(trainer.history))
        if done := trainer.done and end == len(trainer.history):
            with _explained(self._spec):
                self._write_results()
            self.save()
        report = TrialReport(
            epochs=tuple(trainer.history[self._reported_epochs : end]),
            done=done,
            environment=None if self._reported_epochs else environment(trainer.device),
            resumed=0 if self._reported_epochs else self._resumed_epochs,
            usage=self._meter.usage() if done else None,
            warnings=() if self._reported_epochs else tuple(self._warnings),
        )
        self._reported_epochs = end
        return report

    def save(self) -> None:
        """Write a checkpoint, unless no epoch was trained since the last one. The one before is kept, too.

        Some trainings of one's own cannot be saved. After an error within an epoch nothing is written: the training
        stands between two epochs then, and would go on to other numbers.
        """
        trainer = self._trainer
        if self._within_an_epoch or self._saved_epochs == len(trainer.history) or not trainer.can_be_saved:
            return
        start, buffer = time.monotonic(), io.BytesIO()
        torch.save(trainer.state_dict(), buffer)
        self._storage.write(CHECKPOINT, buffer.getbuffer(), former=FORMER_CHECKPOINT)
        self._saved_epochs, end = len(trainer.history), time.monotonic()
        self._save_due = end + max(CHECKPOINT_S, (end - start) / CHECKPOINT_SHARE)

    def _run_epoch(self) -> None:
        with self._meter.running(), _explained(self._spec):
            self._within_an_epoch = True
            self._trainer.run_epoch()
            self._within_an_epoch = False

    def _resume(self, new_trainer: Callable[[], Trainer]) -> Trainer:
        """The training from its newest checkpoint that can be used, else from its start. Others are set aside."""
        for name in (CHECKPOINT, FORMER_CHECKPOINT):
            if trainer := self._load(name, new_trainer):
                break
        else:
            trainer = new_trainer()
        if self._warnings:
            epochs = len(trainer.history)
            self._warnings.append(f"it goes on after epoch {epochs}" if epochs else "it starts from its first epoch")
        return trainer

    def _load(self, name: str, new_trainer: Callable[[], Trainer]) -> Trainer | None:
        """The training from a checkpoint; None, with a warning, where it is damaged or another training's."""
        try:
            content = self._storage.read(name)
        except DamagedFileError as error:
            self._warnings.append(str(error))
            return None
        if content is None:
            return None
        trainer = new_trainer()
        try:
            trainer.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        except Exception as error:
            cause = first_line(error)
            if is_out_of_memory(error):
                raise MemoryError(f"out of memory while {name} was loaded; it is kept: {cause}") from error
            if isinstance(error, torch.AcceleratorError):  # the GPU is at fault, and not the file
                raise
            self._warnings.append(f"{name} cannot be used: {cause}; it is kept as {self._storage.set_aside(name)}")
            return None
        return trainer

    def _write_results(self) -> None:
        """Write the files that the record keeps of a finished trial. They can be read without torch."""
        for name, tensors in self._trainer.results(self._spec.predictions).items():
            self._storage.write(name, to_safetensors(tensors))


@contextmanager
def _explained(spec: TrialSpec) -> Iterator[None]:
    """Raise `MemoryError`, saying what to change, where the training does not fit in its share of a GPU's memory."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_gpu_memory(error):
            raise
        config = spec.config.text(spec.config.canonical()) or "the baseline"
        advice = "give a trial more of a GPU (--gpus-per-trial)"
        if not spec.config.has_own_training:
            config += f" with {len(spec.seeds)} seed(s) fused and batch_size {spec.config.batch_size}"
            advice += ", train fewer seeds at a time (--seeds), or make the batch smaller (--set batch_size=N)"
        raise MemoryError(f"out of GPU memory, it seems ({first_line(error)}): {config}; {advice}") from error
