"""What is checked and read before anything is started: the options, the data and the record.

A sweep goes one way: `prepare` the request, connect to Ray, `allocate` what its nodes have, plan what the record lacks,
forecast it, run it. No Ray here, and torch only to try code of one's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.record.mlflow_record import Record
from analysis.record.opening import open_record
from analysis.record.recorded import SweepRecord, TrialRecord
from sweeps.planning.data_cache import named_cache_problems
from sweeps.planning.options import Options
from sweeps.planning.resolve_search import resolve_search
from sweeps.planning.table_plan import make_config
from sweeps.recording.tracking import check_makeable, named_failures
from sweeps.studies.config_file import NUMBER as CONFIG_NUMBER
from trainable import data
from trainable.data import UNKNOWN, DataSource
from trainable.errors import UsageError
from trainable.search_definition import calibration_name, proof_name
from trainable.study import Study


@dataclass(frozen=True)
class Prepared:
    """A checked request and what the record had of it when it was read."""

    options: Options
    data: DataSource
    record: Record | None
    """None where the embedded record does not exist yet."""
    trials: tuple[TrialRecord, ...]
    """All that the record has, with the last value of each metric."""


def prepare(options: Options, *, dry: bool) -> Prepared:
    """Check a request and read the record. CIFAR-10 that is nowhere is fetched, unless it is a `dry` run, which also
    writes nothing into the record.

    Raises `UsageError` or `DataError` in one line for a config, data or a tracking server that is not usable, and
    `SweepError` for a record that cannot be read to its end.
    """
    for chosen in options.chosen_studies:
        where = f"study {chosen.name}, its baseline" if chosen.baseline else "--set"
        make_config({}, chosen.changed_baseline(options.base), where)
    if study := options.study_with_search:  # a bad search is refused before the data is fetched
        resolve_search(study, base=options.base, samples=options.samples, fingerprint="")
        compared_with, base = study.required_search.compared_with, study.changed_baseline(options.base)
        make_config(compared_with, base, f"study {study.name}, compared_with of its search")
    record = open_record(options.tracking_uri, options.experiment, dry=dry)
    if record is None:
        check_makeable(options.tracking_uri)
    with named_cache_problems():
        known = data.describe(options.data.name, options.data_dir, download=not dry)
    source = known or DataSource.of(options.data, UNKNOWN, "to be downloaded")
    with named_failures(options.tracking_uri):
        trials = tuple(record.trials() if record else ())
        if options.own_study and record:
            _refuse_taken_tables(options.own_study, record.sweeps())
    return Prepared(options, source, record, trials)


def _refuse_taken_tables(study: Study, sweeps: Sequence[SweepRecord]) -> None:
    """Raises `UsageError` for a table whose number or slug another study has in the record: a report shows one of the
    two. The tables of `--config` share a number; a report shows the last."""
    own = (study.name, calibration_name(study.name), proof_name(study.name))
    others = [table for sweep in sweeps for table in sweep.tables if table.study not in own]
    numbers, slugs = ({getattr(table, name): table.study for table in others} for name in ("number", "slug"))
    for number in study.table_numbers:
        if number != CONFIG_NUMBER and number in numbers:
            raise UsageError(
                f"table number {number!r} belongs to study {numbers[number]} in this record; give yours another number "
                "(a search takes its number and the next two)"
            )
    for table in study.tables:
        if table.number != CONFIG_NUMBER and table.slug in slugs:
            raise UsageError(
                f"table {table.number}: slug {table.slug!r} belongs to study {slugs[table.slug]} in this record; give "
                "yours another slug (a table without one has a slug made of its title)"
            )
