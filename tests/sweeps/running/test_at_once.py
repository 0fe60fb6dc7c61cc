"""How many trials a sweep trains at the same time on a cluster that has room for more."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from sweeps.fault import Fault
from sweeps.observer import Observer
from sweeps.planning.resources import Resources
from sweeps.planning.search_plan import plan_search
from sweeps.running import cluster
from sweeps.running.searcher import TrialSearch, make_scheduler
from sweeps.running.specs import TrialContext
from sweeps.running.trials import Stage, run_search, run_trials
from tests.searches import STUDY
from tests.specs import digits_spec
from trainable.config import Config
from trainable.data import load
from trainable.trial import TrialEnd, TrialSpec

pytestmark = pytest.mark.sweeps

TRIALS = 3
SMALL = {"channels": (2, 4), "hidden": (8, 8), "epochs": 2}


class Running(Observer):
    """The most trials that ran at the same time, and how many ended."""

    def __init__(self) -> None:
        self.now: set[str] = set()
        self.most = self.ended = 0

    def trial_started(self, trial_id: str, spec: TrialSpec) -> None:
        self.now.add(trial_id)
        self.most = max(self.most, len(self.now))

    def trial_ended(self, trial_id: str, end: TrialEnd, fault: Fault) -> None:
        self.now.discard(trial_id)
        self.ended += 1


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    cluster.connect(None)
    yield
    ray.shutdown()


def stage(folder: Path) -> tuple[Running, Stage]:
    """One trial at a time, where all would fit."""
    running, share = Running(), Resources(ray.cluster_resources()["CPU"] / TRIALS)
    return running, Stage(name="t", resources=share, observers=[running], storage_path=str(folder), at_once=1)


@pytest.mark.usefixtures("local_ray")
def test_a_sweep_leaves_room_for_others(tmp_path: Path) -> None:
    specs = [digits_spec(Config(data="digits", dropout=p, **SMALL), tmp_path) for p in (0.0, 0.1, 0.2)]
    running, one_by_one = stage(tmp_path)
    run_trials(specs, one_by_one)
    assert (running.most, running.ended) == (1, TRIALS)


@pytest.mark.usefixtures("local_ray")
def test_so_does_a_search(tmp_path: Path) -> None:
    fingerprint = load("digits").fingerprint
    plan = plan_search(STUDY, base={"data": "digits", **SMALL}, samples=TRIALS, fingerprint=fingerprint, trials=())
    running, one_by_one = stage(tmp_path)
    searcher = TrialSearch(plan, TrialContext(fingerprint, None, str(tmp_path)))
    run_search(searcher, make_scheduler(plan), TRIALS, one_by_one)
    assert (running.most, running.ended) == (1, TRIALS)
