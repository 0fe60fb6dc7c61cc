"""Compares searches at equal training effort: the project's own, and three that differ from it in one thing.

    python -m benchmarks.search
    python -m benchmarks.search --data cifar10 --data-dir /data/cifar10 --budget-epochs 600

Writes docs/search-benchmark/: a page, a picture and its numbers. Effort is counted in trained epochs, so that the
machine's noise decides nothing. The searches run one trial at a time, without Ray's actors. Sampler, scheduler and
trainings are the real ones and get the calls that Tune makes. A config that several searches try is trained once.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from matplotlib import pyplot
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from analysis.plots.style import line_style, save
from analysis.record.recorded import VAL_ERROR
from benchmarks.machine import ROOT, DataDirOption, DataOption, describe, measured_on
from sweeps.planning.resolve_search import SEED
from sweeps.planning.search_plan import SearchPlan, plan_search
from sweeps.running.searcher import STARTUP_TRIALS, TrialSearch, make_scheduler, tpe
from sweeps.running.specs import TrialContext
from sweeps.studies.search import SEARCH
from trainable.config import Config
from trainable.data import Dataset, load
from trainable.training import train
from trainable.trial import Epoch, TrialReport
from trainable.tune_trainable import spec_of, tune_result

FOLDER = ROOT / "docs" / "search-benchmark"
PICTURE = "search.png"


@dataclass(frozen=True)
class Arm:
    """One of the searches that are compared."""

    name: str
    sampler: Callable[[int], BaseSampler]
    """Makes the sampler from its seed."""
    stops: bool = True
    """Whether ASHA stops trials."""


@dataclass(frozen=True)
class Completed:
    """A trial of a search that ran to its last epoch."""

    effort: int
    """Epochs that the search had trained by then."""
    error: float
    """The validation error after the trial's last epoch."""


@dataclass(frozen=True)
class Run:
    """One search, run once."""

    arm: Arm
    repeat: int
    trials: int
    completed: tuple[Completed, ...]

    def best(self, effort: int) -> float:
        """The lowest last-epoch validation error of the trials that are complete within that many trained epochs."""
        return min((trial.error for trial in self.completed if trial.effort <= effort), default=math.nan)


def gaussian_process(seed: int) -> GPSampler:
    """Optuna's Gaussian process. It models the parameters that exist everywhere and draws the others at random, and
    learns nothing from trials that ASHA stopped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False)


ARMS = (
    Arm("TPE under ASHA (this project)", tpe),
    Arm("random under ASHA", RandomSampler),
    Arm("TPE without stopping", tpe, stops=False),
    Arm("GPSampler under ASHA", gaussian_process),
)


class LearningCurves:
    """The validation error of configs by epoch, trained when they are asked for and remembered."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._known: dict[Config, list[float]] = {}

    def follow(self, config: Config) -> Iterator[float]:
        """The validation error after each epoch. A config that was not trained so far before starts again."""
        known = self._known.setdefault(config, [])
        yield from known
        for epoch in train(config, self._data, (SEED,)):
            if epoch.number > len(known):
                known.append(epoch.mean(VAL_ERROR))
                yield known[-1]

    @property
    def epochs(self) -> int:
        """Different epochs that were trained."""
        return sum(map(len, self._known.values()))


def run(arm: Arm, repeat: int, plan: SearchPlan, curves: LearningCurves, budget: int) -> Run:
    """Search until `budget` epochs are trained. The sampler's seed is the repeat's number."""
    searcher = TrialSearch(plan, TrialContext(plan.search.fingerprint, None, ""), arm.sampler(repeat))
    scheduler = make_scheduler(plan) if arm.stops else FIFOScheduler()
    controller: Any = None  # these schedulers do not use Tune's
    completed: list[Completed] = []
    effort = trials = 0
    while effort < budget:
        trials += 1
        trial = Trial("", trial_id=str(trials), stub=True)
        suggested = searcher.suggest(trial.trial_id)
        assert suggested, "nothing else runs that it could wait for"
        config = spec_of(suggested).config
        scheduler.on_trial_add(controller, trial)
        for epoch, error in islice(enumerate(curves.follow(config), start=1), budget - effort):
            effort += 1
            result = tune_result(TrialReport(epochs=(Epoch(epoch, 0.0, {VAL_ERROR: [error]}),), done=False))
            if epoch == config.epochs:
                completed.append(Completed(effort, error))
            elif scheduler.on_trial_result(controller, trial, result) != TrialScheduler.STOP:
                searcher.on_trial_result(trial.trial_id, result)
                continue
            scheduler.on_trial_complete(controller, trial, result)
            searcher.on_trial_complete(trial.trial_id, result)
            break
    return Run(arm, repeat, trials, tuple(completed))


def draw(runs: Sequence[Run], budget: int, title: str, file: Path) -> Path:
    """The best validation error so far by trained epochs: each arm's median, and a band from its lowest to its highest
    repeat."""
    figure, axis = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    efforts = sorted({trial.effort for run in runs for trial in run.completed} | {budget})
    for index, (arm, repeats) in enumerate(by_arm(runs).items()):
        columns = [[run.best(effort) for run in repeats] for effort in efforts]
        style = line_style(index + 1)
        axis.step(efforts, [median(column) for column in columns], where="post", label=arm.name, **style)
        lows, highs = [min(column) for column in columns], [max(column) for column in columns]
        axis.fill_between(efforts, lows, highs, step="post", color=style["color"], alpha=0.12, linewidth=0)
    axis.set(xlabel="trained epochs", ylabel="best validation error so far", xlim=(0, budget), ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    axis.set_title(title, fontsize=10)
    rows = [
        (run.arm.name, run.repeat, trial.effort, trial.error, run.best(trial.effort))
        for run in runs
        for trial in run.completed
    ]
    return save(figure, file, ("arm", "repeat", "trained_epochs", "val_error", "best_val_error"), rows)


def by_arm(runs: Sequence[Run]) -> dict[Arm, list[Run]]:
    """The repeats of each arm."""
    return {arm: [run for run in runs if run.arm == arm] for arm in dict.fromkeys(run.arm for run in runs)}


def page(runs: Sequence[Run], plan: SearchPlan, budget: int, command: str, images: int, trained: int) -> str:
    """The page as Markdown. `images` is the size of the validation split, `trained` the number of different epochs that
    were trained."""
    search, repeats = plan.search, max(run.repeat for run in runs) + 1
    numbers = Path(PICTURE).with_suffix(".csv")
    efforts = [round(budget * share / 3) for share in (1, 2, 3)]
    start = f"its {len(search.start)} start points first" if search.start else "without its start points"
    lines = [
        "# Searches at equal training effort",
        "",
        f"Generated by `{command}`; do not edit.",
        "",
        f"The space of the study `{search.study}` on {search.base.data}, {search.base.epochs} epochs a trial, {start}. "
        f"Each search trains {budget} epochs, one trial at a time, {repeats} times with another seed of its sampler. "
        f"All trainings have seed {SEED}. ASHA's rungs are epochs {', '.join(map(str, search.rungs))}. The samplers "
        f"draw at random until they know {STARTUP_TRIALS} trials. GPSampler models parameters that exist everywhere "
        "and draws the others at random, and it learns nothing from trials that ASHA stopped.",
        "",
        "The best validation error, after the last epoch, of the trials that are complete within so many trained "
        f"epochs: median (range), n = {repeats}.",
        "",
        "| search | " + " | ".join(f"{effort} epochs" for effort in efforts) + " | trials | complete |",
        "|---" * (len(efforts) + 3) + "|",
    ]
    for arm, repeated in by_arm(runs).items():
        cells = [_spread([run.best(effort) for run in repeated]) for effort in efforts]
        trials = median(run.trials for run in repeated)
        complete = median(len(run.completed) for run in repeated)
        lines.append(f"| {arm.name} | {' | '.join(cells)} | {trials:g} | {complete:g} |")
    return "\n".join([
        *lines,
        "",
        *(_conclusion(runs, effort) for effort in efforts),
        "",
        f"The validation split has {images:,} images: errors differ by multiples of {1 / images:.4f}. They are the "
        "errors that the searches select on, so they are optimistic; no test error was measured. Of the "
        f"{len(runs) * budget:,} epochs {trained:,} are different ones, because searches share trials.",
        "",
        "![The best validation error so far by trained epochs: medians, and bands from the lowest to the highest]"
        f"({PICTURE})",
        "",
        f"The numbers of all complete trials: [{numbers}]({numbers}).",
        "",
        measured_on(describe()),
        "",
    ])  # fmt: skip


def _conclusion(runs: Sequence[Run], effort: int) -> str:
    """Which search is ahead at that effort, and of which it is ahead whatever repeats are taken."""
    errors = {arm.name: [run.best(effort) for run in repeats] for arm, repeats in by_arm(runs).items()}
    lowest = min(map(median, errors.values()))
    ahead = [name for name, found in errors.items() if median(found) == lowest]
    beaten = [name for name, found in errors.items() if min(found) > max(max(errors[each]) for each in ahead)]
    its = "Its" if len(ahead) == 1 else "Their"
    return (
        f"- After {effort} epochs the lowest median, {lowest:.4f}, is that of {' and '.join(ahead)}. "
        + (f"{its} worst repeat is better than the best of {' and '.join(beaten)}." if beaten else
           f"{its} repeats overlap with those of every other search.")
    )  # fmt: skip


def _spread(errors: Sequence[float]) -> str:
    return f"{median(errors):.4f} ({min(errors):.4f} to {max(errors):.4f})"


def main(
    data: DataOption = "digits",
    data_dir: DataDirOption = None,
    epochs: Annotated[int, typer.Option(help="Epochs of a whole trial.")] = 15,
    budget_epochs: Annotated[int, typer.Option(help="Epochs that each search trains.")] = 300,
    repeats: Annotated[int, typer.Option(help="Runs of each search.")] = 5,
    without_start_points: Annotated[bool, typer.Option("--without-start-points", help="Start at random.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the page, the picture and its numbers.")] = FOLDER,
) -> None:
    """Compare the searches and write docs/search-benchmark/."""
    if budget_epochs < 3 * epochs:  # a third of the budget has to hold one whole trial
        raise typer.BadParameter(f"--budget-epochs {budget_epochs}: must be at least 3 times --epochs {epochs}")
    dataset = load(data, data_dir)
    plan = plan_search(
        SEARCH, base={"data": data, "epochs": epochs}, samples=1, fingerprint=dataset.fingerprint, trials=()
    )
    command = f"python -m benchmarks.search --data {data} --epochs {epochs} --budget-epochs {budget_epochs}"
    command += f" --repeats {repeats}"
    if without_start_points:
        plan = replace(plan, search=plan.search.model_copy(update={"start": ()}))
        command += " --without-start-points"
    curves, runs = LearningCurves(dataset), []
    for repeat in range(repeats):
        for arm in ARMS:
            runs.append(run(arm, repeat, plan, curves, budget_epochs))
            print(f"{arm.name}, repeat {repeat}: {runs[-1].best(budget_epochs):.4f}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    title = f"{data}, {epochs} epochs a trial: median and range of {repeats} runs"
    draw(runs, budget_epochs, title, out / PICTURE)
    images = len(dataset.splits("B")["val"])
    text = page(runs, plan, budget_epochs, command, images, curves.epochs)
    (out / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
