"""A soak: many short trials on a cluster of two nodes, with faults at random, against a sweep that nothing disturbs.

    python -m benchmarks.reliability             # disturb a sweep, then write both files
    python -m benchmarks.reliability --only-page # write the page from the last results

Results go to results/reliability-cpu.json and docs/reliability.md. Trials are of one epoch of a tiny network on digits.
The storage is a disk of its own, so that it can be filled; where it cannot be mounted (it needs root), that fault is
left out.
"""

import math
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.record.recorded import TrialRecord
from benchmarks.clusters import cluster
from benchmarks.machine import ROOT, TERMS, load, measured_on, save
from benchmarks.soak import FAULTS, KILL_DRIVER, Sample, Soak, disk, study

PAGE = ROOT / "docs" / "reliability.md"
SEEDS = 20
"""Seeds of each row of the study."""
SAMPLE_S = 5.0
STARTS = 500
"""The sweep is started so often at most."""
AT_THE_END = 3
"""Faults once everything is trained, while the report is written: more would let no report end."""
METRICS = ("test_error", "train_loss")
Training = tuple[str, int]
"""A key and a seed."""
Numbers = dict[Training, list[tuple[float, ...]]]
"""The `METRICS` of each complete run of a training."""


def numbers(trials: Iterable[TrialRecord]) -> Numbers:
    """What is recorded of complete trials."""
    found: Numbers = {}
    for trial in trials:
        if trial.complete:
            metrics = [trial.last_by_seed(name) for name in METRICS]
            for seed in trial.seeds:
                found.setdefault((trial.key, seed), []).append(tuple(values[seed] for values in metrics))
    return found


@dataclass(frozen=True)
class State:
    """A record at some moment, against that of the undisturbed sweep."""

    complete: frozenset[Training]
    doubled: int
    """Complete runs beyond the first of a training."""
    wrong: int
    """Complete runs whose numbers differ."""

    @classmethod
    def of(cls, record: Numbers, undisturbed: Numbers) -> "State":
        """Compare two records."""
        doubled = sum(len(runs) - 1 for runs in record.values())
        wrong = sum(run != undisturbed[training][0] for training, runs in record.items() for run in runs)
        return cls(frozenset(record), doubled, wrong)


@dataclass
class Tally:
    """What one kind of fault did, counted from each fault to the next."""

    tries: int = 0
    went_on: int = 0
    """Faults after which more was recorded before the next one, or all was recorded already."""
    lost: int = 0
    """Trainings that were complete before a fault and not after it."""
    doubled: int = 0
    wrong: int = 0

    def add(self, before: State, after: State, total: int) -> None:
        """Count one fault: what was recorded before it and before the next one, of `total` trainings."""
        self.tries += 1
        self.went_on += len(after.complete) > len(before.complete) or len(after.complete) == total
        self.lost += len(before.complete - after.complete)
        self.doubled += after.doubled - before.doubled
        self.wrong += after.wrong - before.wrong


def run_undisturbed(soak: Soak) -> list[TrialRecord]:
    """Run the sweep to its end. Returns its record."""
    soak.start()
    assert soak.driver
    while True:
        with suppress(subprocess.TimeoutExpired):
            assert soak.driver.wait(SAMPLE_S) == 0, (soak.folder / "sweep.log").read_text()
            return soak.record()
        soak.sample()


def disturb(soak: Soak, faults: list[str], every_s: float, undisturbed: Numbers) -> tuple[dict[str, Tally], State]:
    """Run the sweep to its end among faults. Returns what each fault did, and the record at the end."""
    total, trained = len(undisturbed), 0
    moments: list[tuple[str, State]] = []
    soak.start()
    due = time.monotonic() + soak.chance.expovariate(1 / every_s)
    while True:
        assert soak.driver and soak.starts <= STARTS, f"the sweep never ends: see {soak.folder}/sweep.log"
        with suppress(subprocess.TimeoutExpired):
            if soak.driver.wait(timeout=min(SAMPLE_S, max(0.0, due - time.monotonic()))) == 0:
                break
            soak.start()
        soak.sample()
        if time.monotonic() > due and soak.driver.poll() is None:
            state = State.of(numbers(soak.record()), undisturbed)
            trained += len(state.complete) == total
            if trained > AT_THE_END:
                due = math.inf
                continue
            tries = Counter(name for name, _ in moments)
            for name in sorted(faults, key=lambda fault: (tries[fault], soak.chance.random())):
                if FAULTS[name](soak):  # else there is nothing to hit, as where this driver has no recorder's process
                    print(f"{len(state.complete)} of {total} recorded; {name}", flush=True)
                    moments.append((name, state))
                    break
            due = time.monotonic() + soak.chance.expovariate(1 / every_s)
    end = State.of(numbers(soak.record()), undisturbed)
    tallies = {name: Tally() for name in faults}
    states = [*(state for _, state in moments), end]
    for (name, before), after in zip(moments, states[1:], strict=True):
        tallies[name].add(before, after, total)
    return tallies, end


def measure(trials: int, every_s: float, fault_seed: int) -> dict[str, Any]:
    """Run a sweep that nothing disturbs, and another one among faults."""
    seeds = min(SEEDS, trials)
    with tempfile.TemporaryDirectory() as name, cluster("--num-cpus=1") as head:
        calm, wild = (Soak(head, Path(name) / each, random.Random(fault_seed), seeds) for each in ("calm", "wild"))
        with disk(calm.folder / "disk"), disk(wild.folder / "disk") as mounted:
            for soak in (calm, wild):
                (soak.folder / "soak.yaml").write_text(study(trials, seeds))
            wild.add_node()
            undisturbed = numbers(run_undisturbed(calm))
            assert len(undisturbed) == trials // seeds * seeds, "the undisturbed sweep is whole"
            faults = [name for name, fault in FAULTS.items() if mounted or fault is not Soak.fill_storage]
            tallies, end = disturb(wild, faults, every_s, undisturbed)
    options = f"--trials {trials} --every-s {every_s:g} --fault-seed {fault_seed}"
    return {
        "command": f"python -m benchmarks.reliability {options}",
        "trainings": len(undisturbed),
        "starts": wild.starts,
        "killed": sum(tally.tries for name, tally in tallies.items() if FAULTS[name] in KILL_DRIVER),
        "faults": {name: asdict(tally) for name, tally in tallies.items()},
        "end": {"complete": len(end.complete), "doubled": end.doubled, "wrong": end.wrong},
        "most_used": {"undisturbed": _by_fifth(calm.samples), "disturbed": _by_fifth(wild.samples)},
    }


def _by_fifth(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """The most that was used in each fifth of the time that has samples."""
    parts = {part + 1: samples[len(samples) * part // 5 : len(samples) * (part + 1) // 5] for part in range(5)}
    return {
        str(part): {each.name: max(getattr(sample, each.name) for sample in some) for each in fields(Sample)}
        for part, some in parts.items()
        if some
    }


def page(figures: dict[str, Any]) -> str:
    """The page as Markdown, from the results of `measure`."""
    total, starts, killed, end = (figures[name] for name in ("trainings", "starts", "killed", "end"))
    counted = ("tries", "went on", "lost", "doubled", "wrong")
    lines = [
        "# Reliability",
        "",
        f"Generated by `{figures['command']}`; do not edit.",
        "",
        TERMS,
        "",
        f"{total} trainings of one epoch of a tiny network on digits, on two Ray nodes of one machine, with "
        f"{sum(tally['tries'] for tally in figures['faults'].values())} faults at random. Whenever the command ended, "
        f"it was run again until everything was trained: {starts} run(s). In every second run the recorder "
        "was a process of its own, as on a large cluster.",
        "",
        f"Of {total} trainings {end['complete']} were recorded at the end; {end['doubled']} are there twice and "
        f"{end['wrong']} have other numbers than in a sweep that nothing disturbed.",
        "",
        f"Of its {starts} runs {killed} ended because a fault killed the driver, {starts - 1 - killed} for a "
        "reason that was not kept, and the last one because all was done.",
        "",
        "The columns say what was found between one fault and the next one:",
        "",
        "- *went on*: more was recorded before the next fault came, or nothing was left. Where it did not, a later run "
        "recorded the rest: a low count is no loss.",
        "- *lost*: trainings that were recorded before the fault and are missing now.",
        "- *doubled*: trainings that are recorded twice.",
        "- *wrong*: trainings with other numbers than in a sweep that nothing disturbed.",
        "- *fails in less than*: the upper limit, with a confidence of 95%, of the share of such faults that lose, "
        "double or spoil a training. It is given where none of those tried did.",
        "",
        "The head node was never killed. A training here is over within a second: that a longer one goes on from its "
        "checkpoint is tested elsewhere (`python -m pytest -m reliability`).",
        "",
        f"| fault | {' | '.join(counted)} | fails in less than |",
        "|---" * (len(counted) + 2) + "|",
    ]
    for name, tally in figures["faults"].items():
        counts = (str(tally[column.replace(" ", "_")]) for column in counted)
        lines.append(f"| {name} | {' | '.join(counts)} | {_bound(tally)} |")
    last = {"lost": total - end["complete"], "doubled": end["doubled"], "wrong": end["wrong"]}
    lines += [
        f"| at the end, of {total} trainings | {' | '.join(str(last.get(column, '')) for column in counted)} | |",
        "",
        "The most that the driver and the storage took in each fifth of the time. In the disturbed sweep each new "
        "driver reads what those before it recorded.",
        "",
        "| sweep | fifth | open files | memory, MiB | storage, MiB |",
        "|---|---|---|---|---|",
    ]
    for sweep, fifths in figures["most_used"].items():
        for part, used in fifths.items():
            lines.append(
                f"| {sweep} | {part} | {used['open_files']} | {used['memory_mib']:.0f} | {used['storage_mib']:.1f} |"
            )
    return "\n".join([*lines, "", measured_on(figures["machine"]), ""])


def _bound(tally: dict[str, int]) -> str:
    """The 95% upper limit of the share of faults that fail, where none of n did: 1 - .05^(1/n)."""
    failed = tally["lost"] or tally["doubled"] or tally["wrong"]
    return "" if failed or not tally["tries"] else f"{1 - 0.05 ** (1 / tally['tries']):.0%}"


def main(
    trials: Annotated[int, typer.Option(min=1, help="Trainings.")] = 2000,
    every_s: Annotated[float, typer.Option(min=1.0, help="Mean seconds between two faults.")] = 60.0,
    fault_seed: Annotated[int | None, typer.Option(help="Decides the faults. Default: a new one.")] = None,
    only_page: Annotated[bool, typer.Option("--only-page", help="Disturb nothing.")] = False,
) -> None:
    """Disturb a sweep at random and write docs/reliability.md."""
    if not only_page:
        seed = random.SystemRandom().randrange(2**31) if fault_seed is None else fault_seed
        print(f"--fault-seed {seed}", flush=True)
        save("reliability", "cpu", measure(trials, every_s, seed))
    PAGE.write_text(page(load("reliability")), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
