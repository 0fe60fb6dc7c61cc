"""The searches: what each sampled, what it spent and found, and what its parameters did to the error."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.importance import FirstRung, can_weigh_parameters
from analysis.plots.search_parameters import draw_importances, draw_parallel, draw_slices
from analysis.record.recorded import VAL_ERROR, WINNER_METRIC, TrialRecord
from analysis.record.replicates import Replicates
from analysis.report_data import ReportData
from analysis.searches import Origin, RecordedSearch, training_seconds, undefined_searches, val_errors
from analysis.statistics.intervals import mean_text, seeds_text
from analysis.statistics.race import Racer
from analysis.writing.page import Absent, Block, Grid, Picture, Section, Text
from analysis.writing.search_text import optimism_text
from analysis.writing.shared_pictures import best_so_far, learning_curves
from analysis.writing.words import counted
from trainable.config import Config
from trainable.own_code.code_file import ARGUMENTS
from trainable.search_definition import NOT_SEARCHABLE
from trainable.search_space import Choice, Range, Target, fields, searched
from trainable.value_text import value_text

TITLE = "Hyperparameter search"
BASELINE_VALUES = "the baseline's values"
ABOUT = (
    "A search trains one configuration after another, each suggested by a sampler that learns from the earlier ones. "
    "It follows protocol B: a tenth of the train split is held out, and the error on it after the last epoch decides. "
    "The search never reads the test split; the proof of its winner does. The scheduler ASHA (Li et al. 2020) compares "
    "the trials after some epochs, its rungs, and stops those that are behind."
)


def section(data: ReportData) -> Section | Absent:
    """Each search: its definition, its result beside the course report's own configuration, and its pictures. Several
    searches are a subsection each."""
    undefined = undefined_searches(data.sweeps, data.trials)
    if not data.searches and not undefined:
        return Absent(TITLE, "no search is recorded (python sweeps/search.py)")
    missing = [
        f"Missing: the definition of the search in the study `{study}`, of which {count} trials are recorded."
        for study, count in undefined.items()
    ]
    made = Section(TITLE, [Text(ABOUT), *map(Text, missing)])
    parts = [Section(recorded.search.title, _blocks(data, recorded)) for recorded in data.searches]
    if len(parts) == 1:
        made.blocks += parts[0].blocks
    else:
        made.subsections = parts
    return made


def _blocks(data: ReportData, recorded: RecordedSearch) -> list[Block]:
    search = recorded.search

    def file(kind: str) -> Path:
        return data.folder / f"{search.study}-{kind}.png"

    blocks: list[Block] = [Grid(("", ""), _definition(recorded))]
    if starts := [(_values(point.values) or BASELINE_VALUES, point.source or "-") for point in search.start]:
        blocks.append(Grid(("start point", "source"), starts))
    blocks += [Grid(*_space(recorded)), *_race(recorded)]
    if recorded.left_out:
        blocks.append(
            Text(
                f"{recorded.left_out} trials of an earlier definition of this search, or of an earlier training "
                "recipe, are left out."
            )
        )
    if not recorded.own:
        return [*blocks, Text("Missing: no trial of this search is recorded.")]
    blocks += [
        Grid(("", ""), _result(data, recorded)),
        learning_curves(recorded, data.folder),
        best_so_far(recorded, data.folder),
    ]
    if not recorded.varied:
        return [*blocks, Text("Missing: the trials do not differ, so there are no parameters to compare.")]
    slices = draw_slices(recorded, file("slices"))
    blocks.append(
        Picture(
            slices,
            "The last validation error of each trial by each parameter, over the whole space. A trial that ASHA "
            "stopped trained for fewer epochs.",
        )
    )
    if not can_weigh_parameters(recorded):
        return [*blocks, Text("Missing: too few different trials to weigh the parameters.")]
    first = FirstRung(recorded)
    return [
        *blocks,
        Text(
            f"The next two pictures use the error after epoch {recorded.first_rung}, ASHA's first rung, which "
            f"{len(recorded.at_first_rung)} of {len(recorded.own)} trials reached; ASHA chose those that went on, "
            "so later errors would compare unlike trials. The sampler chose the values: a parameter that it hardly "
            "varied can weigh much or little by chance."
        ),
        Picture(
            draw_importances(first, file("importance")),
            "How much each parameter matters to whether a trial is among the best after epoch "
            f"{recorded.first_rung} (PED-ANOVA, Watanabe et al. 2023).",
        ),
        Picture(
            draw_parallel(first, file("parallel")),
            f"The rank by the error after epoch {recorded.first_rung}, 1 for the lowest, and the values of the most "
            "important parameters, a line for each trial.",
        ),
    ]


def _race(recorded: RecordedSearch) -> list[Block]:
    """The race of the best configs over further seeds; empty where none of them is trained for any."""
    race, settings = recorded.race, recorded.search.race
    if not any(racer.errors for racer in race.racers):
        return []
    rows = []
    for racer in sorted(race.racers, key=lambda racer: (-len(racer.errors), sum(racer.errors.values()))):
        raced = {seed: error for seed, error in racer.errors.items() if seed in race.seeds}
        errors = list(raced.values())
        kept = "lowest mean: wins" if racer is race.winner else "not dropped"
        end = f"dropped, p {racer.p:.3f}" if racer.dropped else kept
        rows.append((_name(recorded, racer), mean_text(errors), seeds_text(sorted(raced)), end))
    about = (
        f"{_raced(len(race.racers))} trained for further seeds. "
        f"After {settings.first_test} of them, and after each one more, up to {settings.seeds}, a one-sided paired "
        f"t-test drops those that are behind the one with the lowest mean so far (p below {settings.alpha:g}). The "
        "seed of the search does not count: the best of many on one seed are partly lucky."
    )
    return [Text(about), Grid(("configuration", "validation error in the race", "seeds", "result"), rows)]


def _raced(count: int) -> str:
    if count == 1:
        return "The configuration with the lowest validation error was"
    return f"The {count} configurations with the lowest validation errors were"


def _name(recorded: RecordedSearch, trial: TrialRecord | Racer) -> str:
    """The name of a trial or a racer, and whether somebody has written its config down."""
    start = " (a start point)" if trial.config in recorded.start_points else ""
    return f"{trial.name}{start}"


def _definition(recorded: RecordedSearch) -> list[tuple[str, str]]:
    """What the search holds fixed, and what suggests and stops its trials."""
    search = recorded.search
    changed, set_by_space = search.base.canonical().keys() - fields(search.space), searched(search.space)
    fixed = {name: getattr(search.base, name) for name in Config.model_fields if name in {*changed, *NOT_SEARCHABLE}}
    fixed |= {
        f"{field}[{name}]": value
        for field in ARGUMENTS.values()
        for name, value in getattr(search.base, field).items()
        if field not in changed and Target(field, argument=name) not in set_by_space
    }
    rungs = ", ".join(map(str, search.rungs))
    most = max(each.samples for each in (search, *recorded.definitions))
    before = f" (an earlier sweep asked for {most})" if most > search.samples else ""
    return [
        ("search", search.title),
        ("fixed", f"{_values(fixed)}; else as the baseline"),
        ("start points", str(len(search.start))),
        ("sampler", search.sampler),
        (
            "scheduler",
            f"ASHA: after epochs {rungs} of {search.base.epochs} a trial goes on if it is among the best 1 in "
            f"{search.scheduler.reduction} of those that have come so far",
        ),
        ("seeds", seeds_text(search.seeds)),
        ("trials asked for", f"{search.samples}{before}"),
    ]


def _space(recorded: RecordedSearch) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Header and rows: each parameter with its bounds, what was tried of it and the best config's value."""
    rows = []
    for name, parameter in recorded.search.space.items():
        tried = [value for trial in recorded.own if (value := recorded.value(trial, name)) is not None]
        best = recorded.value(recorded.winner, name) if recorded.winner else None
        bounds = f"{parameter}, {parameter.condition}" if parameter.condition else str(parameter)
        rows.append(
            (name, bounds, _tried(parameter, tried) if tried else "-", "-" if best is None else value_text(best, 3))
        )
    return ("parameter", "space", "tried", "best config"), rows


def _result(data: ReportData, recorded: RecordedSearch) -> list[tuple[str, str]]:
    """What the search spent and found, beside the course report's own batch-norm config where that is recorded."""
    complete, total = len(recorded.complete), len(recorded.own)
    epochs = sum(len(val_errors(trial)) for trial in recorded.own)
    hours = sum(map(training_seconds, recorded.own)) / 3600
    rows = [
        (
            "trials",
            f"{total}: {complete} ran to their last epoch, {total - complete} stopped by ASHA{_elsewhere(recorded)}",
        ),
        ("their configurations", _origins(recorded)),
        ("training", f"{epochs} epochs, {hours:.2f} slot hours"),
    ]
    best = recorded.winner
    if best is None:
        return [*rows, ("best config", "missing: no trial has run to its last epoch")]
    rows += [
        ("best config", f"{_name(recorded, best)}: {_values(recorded.search.point(best.config))}"),
        (
            "its validation error",
            f"{best.metrics[VAL_ERROR]:.4f}, seed {_listed(best.seeds)}; {optimism_text(recorded)}",
        ),
        ("its test error", _test_error(data, recorded, best)),
    ]
    if earlier := recorded.earlier_winners:
        errors = ", ".join(f"{trial.name} {trial.metrics[WINNER_METRIC]:.4f}" for trial in earlier)
        rows.append(("test errors of other winners, which may have been known when this search went on", errors))
    if (point := recorded.marked_start_point) and val_errors(point):
        epoch, error = val_errors(point)[-1]
        when = "its last epoch" if point.complete else f"epoch {epoch}, where ASHA stopped it"
        rows.append(("a start point, for comparison", f"{point.name}: validation error {error:.4f} after {when}"))
    if published := _published(data, recorded):
        finals = list(published.last_errors().values())
        rows.append(
            (
                f"the course report's batch-norm config{_in_table(data, published)}",
                f"test error after the last epoch {mean_text(finals)}, seeds {seeds_text(published.seeds)}, trained "
                "on the whole train split",
            )
        )
    return rows


def _origins(recorded: RecordedSearch) -> str:
    """How many of the trials somebody has written down, and how many the sampler suggested."""
    counts = Counter(map(recorded.origin, recorded.own))
    carried = counts[Origin.OTHER_EPOCHS]
    return (
        f"{counted(counts[Origin.START_POINT], 'start point')} of this or an earlier definition, "
        + (f"{carried} of the best of trainings for other numbers of epochs, " if carried else "")
        + f"{counts[Origin.SAMPLER]} suggested by the sampler"
    )


def _test_error(data: ReportData, recorded: RecordedSearch, best: TrialRecord) -> str:
    """That of the winner's proof, else what its search has recorded."""
    if proof := data.proof_of(recorded):
        errors = list(proof.winner.errors.values())
        return f"{mean_text(errors)}, {counted(len(errors), 'seed')}"
    if WINNER_METRIC in best.metrics:
        return f"{best.metrics[WINNER_METRIC]:.4f}"
    earlier = "; the recorded proof is of an earlier winner" if data.earlier_proof_of(recorded) else ""
    return f"missing: not read yet{earlier}"


def _elsewhere(recorded: RecordedSearch) -> str:
    """Which trials stopped at the rung of an earlier definition; empty where none did."""
    epochs = recorded.stopped_elsewhere
    if not epochs:
        return ""
    named = _listed(sorted(set(epochs)))
    return f", {len(epochs)} of them at the rung of an earlier definition (epoch {named})"


def _in_table(data: ReportData, published: Replicates) -> str:
    """Which table has its row, if one has."""
    for table in data.tables:
        if table.compares_errors and published.key in {row.key for row in table.rows}:
            return f", in table {table.number}"
    return ""


def _published(data: ReportData, recorded: RecordedSearch) -> Replicates | None:
    """The course report's own batch-norm config, trained on the search's data for as long. None where it is not
    recorded, or where the search is not one over networks with batch norm."""
    base = recorded.search.base
    if not base.batch_norm:
        return None
    config = Config(data=base.data, epochs=base.epochs, precision=base.precision, batch_norm=True)
    return data.trainings.get(config.key(recorded.search.fingerprint))


def _tried(parameter: Choice | Range, values: Sequence[Any]) -> str:
    if isinstance(parameter, Choice):
        return ", ".join(
            value_text(choice) for choice in dict.fromkeys((*parameter.choices, *values)) if choice in values
        )
    return f"{value_text(min(values), 3)} to {value_text(max(values), 3)}"


def _values(named: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value_text(value, 3)}" for name, value in named.items())


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
