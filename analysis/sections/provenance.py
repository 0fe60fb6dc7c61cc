"""What the results were made with: data, hardware, versions and commits."""

from collections import Counter
from statistics import median

from analysis.record.origin import CHANGES, PACKAGES
from analysis.record.recorded import DATA_FORM, DEVICE_NAME, FINGERPRINT
from analysis.report_data import ReportData
from analysis.searches import training_seconds
from analysis.statistics.intervals import seeds_text
from analysis.writing.page import Block, File, Grid, Section, Text

TITLE = "How these results were made"


def section(data: ReportData) -> Section:
    """Each distinct value of what was recorded of the trials behind the report, and how far repeated trainings lie
    apart."""
    trials = data.shown_trials

    def values(tag: str) -> str:
        return "; ".join(dict.fromkeys(t.tags[tag] for t in trials if tag in t.tags)) or "missing"

    hours = sum(map(training_seconds, trials)) / 3600
    seeds = sorted({seed for trial in trials for seed in trial.seeds})
    epochs = sorted({trial.config.epochs for trial in trials})
    rows = [
        ("data", f"{values('data')}, form {values(DATA_FORM)}, fingerprint {values(FINGERPRINT)}"),
        (
            "trials",
            f"{len(trials)} behind the tables and the searches, without those that were interrupted, repeated or not "
            f"used (What it took counts them all); seeds {seeds_text(seeds)}; epochs "
            f"{', '.join(map(str, epochs))}; {hours:.1f} slot hours (each trial takes one slot of a machine)",
        ),
        ("precision", ", ".join(sorted({trial.config.precision for trial in trials}))),
        ("hardware", values(DEVICE_NAME)),
        (
            "versions",
            ", ".join(f"{name} {values(name)}" for name in ("python", "torch", "torchvision", "ray", "mlflow")),
        ),
        ("commit", values("git_commit")),
    ]
    made = Section(TITLE, [Grid(("", ""), rows)])
    if data.about_lossy:
        made.blocks.append(Text(data.about_lossy))
    spreads = [
        spread for training in data.shown_trainings.values() for spread in training.spreads(training.config.held_out)
    ]
    if spreads:
        made.blocks.append(
            Text(
                f"{len(spreads)} pairs of a config and a seed were trained more than once, {spreads.count(0)} of them "
                "with the same last error. Their last errors lie "
                f"{median(spreads):.4f} apart in the median and {max(spreads):.4f} at most. A seed fixes the random "
                "numbers of a training; where several seeds train as one program, those of dropout depend on all of "
                "them. Other processors, GPUs and library versions round otherwise, and the difference grows with each "
                "step. This page uses the errors of the first training, except in a winner's proof, and each other "
                "measurement from the first training that has it."
            )
        )
    made.blocks += _origins(data)
    return made


def _origins(data: ReportData) -> list[Block]:
    """Each distinct list of packages and each distinct change of the code, as a file with the sweeps that had it."""
    sweeps = data.sweeps
    origins = {sweep.run_id: data.source.origin(sweep) for sweep in sweeps}
    blocks: list[Block] = []
    for name, what in ((PACKAGES, "The packages of"), (CHANGES, "The changes to the code since the commit of")):
        having: dict[str, list[str]] = {}
        for sweep in sweeps:
            if text := origins[sweep.run_id].get(name):
                having.setdefault(text, []).append(sweep.name)
        for number, (text, names) in enumerate(having.items(), start=1):
            kind, _, ending = name.partition(".")
            file = data.folder / f"{kind}-{number}.{ending}"
            file.write_text(text, "utf-8")
            blocks.append(File(file, f"{what} {_counted(names)}"))
    if lacking := sum(not origins[sweep.run_id].get(PACKAGES) for sweep in sweeps):
        blocks.append(Text(f"Missing: the packages of {lacking} of {len(sweeps)} sweeps, which did not keep them."))
    return blocks


def _counted(names: list[str]) -> str:
    """Each name once, with how many sweeps have it."""
    return ", ".join(name if count == 1 else f"{name} ({count} sweeps)" for name, count in Counter(names).items())
