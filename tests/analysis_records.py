"""Small records in memory, for the tests of the analysis."""

from pathlib import Path
from typing import Any

import numpy as np

from analysis.record.recorded import Series, SweepRecord, TrialRecord
from analysis.report import write_report
from analysis.report_data import ReportData
from trainable.config import Config
from trainable.image_set import ImageSet
from trainable.resolved_search import ResolvedSearch
from trainable.search_definition import Scheduler
from trainable.search_space import Choice, Range
from trainable.study import Reported, ResolvedRow, ResolvedTable

TAGS = {"outcome": "complete", "data": "cifar10", "data_fingerprint": "abc", "torch": "2.15.0", "git_commit": "c0ffee"}


def trial(name: str, errors: dict[int, list[float]], config: Config, **changes: object) -> TrialRecord:
    """A complete trial with these test errors by seed and epoch; each train error is half the test error."""
    histories: dict[str, Series] = {}
    for seed, values in errors.items():
        histories[f"test_error/seed_{seed}"] = list(enumerate(values, start=1))
        histories[f"train_error/seed_{seed}"] = [(epoch, value / 2) for epoch, value in enumerate(values, start=1)]
    fields: dict[str, Any] = {
        "key": config.key("abc"), "name": name, "config": config, "seeds": tuple(errors), "status": "FINISHED",
        "sweep": "s", "tags": TAGS, "histories": histories, "run_id": name,
    }  # fmt: skip
    fields |= changes
    last = {name: series[-1][1] for name, series in fields["histories"].items()}
    return TrialRecord(**({"metrics": last} | fields))


def resolved_row(name: str, config: Config) -> ResolvedRow:
    """A row without printed figures."""
    return ResolvedRow(name=name, key=config.key("abc"), config=config)


def table(data: str | ImageSet = "cifar10") -> ResolvedTable:
    """Table 3: the baseline and the hinge loss, with printed figures."""
    base, hinge = Config(data=data), Config(data=data, loss="hinge")
    printed = Reported(train_error=0.0586, train_epoch=19, test_error=0.3016, test_epoch=8)
    rows = (
        ResolvedRow(name="cross-entropy", key=base.key("abc"), config=base, reported=printed),
        ResolvedRow(name="hinge", key=hinge.key("abc"), config=hinge, reported=printed),
    )
    reference = base.key("abc")
    return ResolvedTable(
        study="tables", number="3", slug="loss", title="Loss", varies="loss", rows=rows, reference=reference
    )


def search(space: dict[str, Choice | Range], epochs: int = 2, **changes: object) -> ResolvedSearch:
    """A search on the digits with batch norm, as a sweep records it."""
    fields: dict[str, Any] = {
        "study": "search", "title": "A search", "fingerprint": "abc", "space": space, "scheduler": Scheduler(),
        "base": Config(data="digits", protocol="B", batch_norm=True, epochs=epochs),
        "sampler": "a sampler", "seeds": (0,), "samples": 20,
    }  # fmt: skip
    return ResolvedSearch(**(fields | changes))


def search_trial(
    name: str, definition: ResolvedSearch, values: dict[str, Any], errors: list[float], **tags: str
) -> TrialRecord:
    """A trial of a search with these validation errors by epoch, two seconds each; stopped where they are fewer than
    the epochs."""
    config = definition.config(values)
    outcome = "complete" if len(errors) == config.epochs else "stopped"
    histories = {
        "val_error": list(enumerate(errors, start=1)),
        "epoch_s": [(epoch, 2.0) for epoch in range(1, len(errors) + 1)],
    }
    every = (
        TAGS
        | {"outcome": outcome, "study": definition.study, "table": definition.study, "data": config.data.name}
        | tags
    )
    return trial(name, {}, config, seeds=(0,), tags=every, histories=histories)


def sweep(*tables: ResolvedTable, name: str = "first", searches: tuple[ResolvedSearch, ...] = ()) -> SweepRecord:
    """A finished sweep."""
    return SweepRecord(
        run_id="s", name=name, start_time=1, status="FINISHED", tags={}, params={"epochs": "3"}, tables=tables,
        searches=searches,
    )  # fmt: skip


class Recorded:
    """A record in memory."""

    def __init__(self, trials: list[TrialRecord], *sweeps: SweepRecord) -> None:
        self._trials, self._sweeps = trials, list(sweeps)
        self.files: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        self.origins: dict[str, dict[str, str]] = {}

    def sweeps(self) -> list[SweepRecord]:
        return self._sweeps

    def histories(self) -> list[TrialRecord]:
        return self._trials

    def origin(self, sweep: SweepRecord) -> dict[str, str]:
        return self.origins.get(sweep.name, {})

    def arrays(self, trial: TrialRecord, name: str) -> dict[str, np.ndarray]:
        return self.files.get((trial.run_id, name), {})


def page_of(folder: Path, record: Recorded) -> str:
    """The record's report as Markdown, written to the folder."""
    write_report(ReportData(record, folder))
    return (folder / "README.md").read_text()
