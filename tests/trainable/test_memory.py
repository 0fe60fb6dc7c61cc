"""A training that has ended leaves no memory to the next one, at once and without Python's search for cycles. On a
CPU, steps use the same memory again."""

import gc
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from weakref import ref

import pytest
import torch
from torch import nn

from tests.configs import EVERYTHING, EVERYTHING_ELSE, SMALL
from tests.specs import digits_spec
from trainable.config import Config
from trainable.data import load
from trainable.graphs import GraphedStep
from trainable.learner import Learner
from trainable.training import Trainer
from trainable.tune_trainable import TuneTrainable, tune_config


@pytest.fixture(autouse=True)
def no_search_for_cycles() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held_by_trainings(besides: Collection[int] = ()) -> list[ref]:
    """What holds the memory of the trainings in this process, besides objects with these numbers."""
    kinds = (Trainer, Learner, GraphedStep, nn.Module, nn.Parameter, torch.optim.Optimizer)
    return [ref(each) for each in gc.get_objects() if issubclass(type(each), kinds) and id(each) not in besides]


def numbers_of_all() -> set[int]:
    """The numbers of what other tests of this process still hold."""
    return {id(each()) for each in held_by_trainings()}


def alive(references: list[ref]) -> set[type]:
    return {type(each()) for each in references} - {type(None)}


@pytest.mark.parametrize(
    ("config", "probe_every"),
    [(EVERYTHING, 4), (EVERYTHING_ELSE, None), (Config(**SMALL, optimizer="sgd", schedule="cosine"), None)],
)
def test_a_training_frees_its_memory_when_it_is_dropped(config: Config, probe_every: int | None) -> None:
    before = numbers_of_all()
    trainer = Trainer(config, load("digits"), (0, 1), fused=True, probe_every=probe_every)
    trainer.run_epoch()
    held = held_by_trainings(besides=before)
    assert {Trainer, Learner, GraphedStep} <= alive(held)
    del trainer
    assert not alive(held)


def test_a_trials_memory_is_free_before_the_next_trial_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's cache of GPU memory is emptied when nothing holds it any more."""
    before = numbers_of_all()
    spec = digits_spec(Config(**SMALL, batch_size=512, epochs=1), tmp_path)
    actor = TuneTrainable(tune_config(spec))
    actor.step()
    held, at_emptying = held_by_trainings(besides=before), []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: at_emptying.append(alive(held)))
    actor.reset_config(tune_config(spec))
    assert at_emptying == [set()]


FAULTS_BY_EPOCH = """
import resource, torch
from trainable.config import Config
from trainable.data import load
from trainable.training import Trainer

torch.set_num_threads(1)
trainer = Trainer(Config(data="digits", batch_size=32), load("digits"))
for _ in range(4):
    trainer.run_epoch()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""
"""Prints the page faults so far after each epoch."""


def test_the_steps_of_a_training_on_a_cpu_use_the_same_memory_again() -> None:
    command = [sys.executable, "-c", FAULTS_BY_EPOCH]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, *_, last = map(int, printed.split())
    assert last - first < 6000  # 10,000 or more where what a step frees goes back to the system
