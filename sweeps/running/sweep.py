"""One sweep, run: what the record lacks of the chosen studies is trained on Ray and recorded."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import ray
from pyarrow import ArrowException
from rich.console import Console

from analysis.record import PROBED, Record
from analysis.report import write_report
from analysis.report_data import ReportData
from sweeps.errors import UsageError
from sweeps.planning.allocate import allocate
from sweeps.planning.forecast import make_forecast
from sweeps.planning.prepare import Prepared, SweepPlan, plan_sweep
from sweeps.planning.resources import Allocation, count_slots
from sweeps.planning.search_plan import SearchPlan
from sweeps.planning.show import print_forecast
from sweeps.planning.surface_plan import plan_surfaces
from sweeps.planning.table_plan import TablePlan
from sweeps.recording.listing import planned_tags
from sweeps.recording.note import NOTE, sweep_note
from sweeps.recording.recorder import Recorder, log_tables
from sweeps.recording.views import present
from sweeps.running import cluster
from sweeps.running.context import TrialContext
from sweeps.running.display import Display
from sweeps.running.provenance import start_recorder
from sweeps.running.searcher import TrialSearch, make_scheduler
from sweeps.running.surface_tasks import compute_surfaces
from sweeps.running.trials import TrialCount, run_search, run_trials
from sweeps.running.winner import record_winner
from sweeps.studies.proof import proof_name
from trainable.storage import check_writable
from trainable.trial import TrialSpec

logger = logging.getLogger(__name__)

REPORT_FOLDER = "report"


@dataclass
class SweepResult:
    """How a sweep ended."""

    plan: SweepPlan
    """What it was to run, on the devices that it found."""
    failed: int = 0
    """Trials given up."""
    interrupted: bool = False
    """Whether it was stopped before all trials had ended."""
    undelivered: bool = False
    """Whether some of it could not be written to the record."""
    broken: bool = False
    """Whether something computed from the finished trials failed: a surface, the winner's test, the report."""

    def add(self, count: TrialCount) -> None:
        """Add how some of its trials ended."""
        self.failed += count.failed
        self.interrupted |= count.interrupted


def run(prepared: Prepared, console: Console) -> SweepResult:
    """Start or join Ray and run the sweep to its end, or to Ctrl-C.

    Raises `UsageError` where the storage cannot be written or no node has what a trial asks for.
    """
    options = prepared.options
    _check_storage(options.storage_path)
    with console.status("starting Ray"):
        nodes = cluster.connect(options.address)
    try:
        allocation = allocate(prepared, nodes)
        plan = plan_sweep(prepared, allocation)
        print_forecast(console, make_forecast(prepared, plan, allocation))
        if not count_slots(nodes, allocation.trial):
            console.print(f"no node can run a trial yet: waiting for some with {allocation.trial}; see ray status")
        return _Sweep(prepared, allocation, plan, console).run()
    finally:
        ray.shutdown()


def _check_storage(storage_path: str) -> None:
    try:
        check_writable(storage_path)
    except (OSError, ArrowException) as error:
        raise UsageError(f"--storage-path {storage_path}: cannot be written: {error}") from error


class _Sweep:
    def __init__(self, prepared: Prepared, allocation: Allocation, plan: SweepPlan, console: Console) -> None:
        self._options, self._prepared, self._console = prepared.options, prepared, console
        self._allocation, self._plan = allocation, plan
        self._name = self._options.name or f"{'-'.join(self._options.studies)}-{datetime.now():%Y%m%d-%H%M%S}"
        self._context = TrialContext(
            prepared.data.fingerprint, self._options.trial_data_dir, self._options.storage_path
        )
        self._result = SweepResult(plan)
        self._samples = self._options.samples
        """Those of the search that can still be had: the next sweep tries failed ones again, this one does not wait."""

    def run(self) -> SweepResult:
        result, plan = self._result, self._plan
        if plan.complete:  # on a cluster only the nodes tell what trials run on, and so what is left
            return result
        recorder = start_recorder(self._prepared, self._plan, self._allocation, self._name)
        status = "FAILED"
        try:
            self._show(recorder)
            if plan.tables.to_run:
                result.add(self._run_tables(recorder, plan.tables, "ablations"))
            if plan.search and not result.interrupted:
                self._run_search(recorder, plan.search)
            if not result.interrupted and recorder.flush():
                result.plan = self._replan()
                self._compute_surfaces(recorder)
                self._write_report(recorder)
                self._show(recorder)
            status = "KILLED" if result.interrupted else "FAILED" if result.failed or result.broken else "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            with self._console.status("finishing the record"):
                result.undelivered = not recorder.finish(status)
        return result

    def _replan(self) -> SweepPlan:
        """What the record lacks now."""
        options = self._options.model_copy(update={"samples": self._samples})
        trials = tuple(self._read_record().trials())
        return plan_sweep(replace(self._prepared, options=options, trials=trials), self._allocation)

    def _run_tables(self, recorder: Recorder, tables: TablePlan, title: str) -> TrialCount:
        specs: list[TrialSpec] = []
        for planned in tables.to_run:
            tags = {
                "study": _joined(table.study for table in planned.tables),
                "table": _joined(table.number for table in planned.tables),
                "row": _joined(planned.rows),
                **planned_tags(tables.tables, planned.key),
            }
            if planned.probe_every:
                tags[PROBED] = str(planned.probe_every)
            specs += [
                self._context.spec(
                    planned.config,
                    name=planned.name,
                    seeds=seeds,
                    tags=tags,
                    probe_every=planned.probe_every,
                    predictions=planned.predictions,
                )
                for seeds in planned.trial_seeds
            ]
        display = Display(
            self._console,
            title,
            trials=len(specs),
            epochs=sum(spec.config.epochs for spec in specs),
            device=self._allocation.trial.device,
            trial_s={planned.key: planned.trial_s for planned in tables.to_run},
            total_s=tables.slot_s,
        )
        with display:
            return run_trials(
                specs,
                resources=self._allocation.trial,
                observers=[recorder, display],
                storage_path=self._options.storage_path,
                name=f"{self._name}-{title}",
            )

    def _run_search(self, recorder: Recorder, plan: SearchPlan) -> None:
        """Search, race the best configs, prove the winner: each stage as far as the record lacks it."""
        if plan.to_run:
            count = self._run_search_trials(recorder, plan)
            self._result.add(count)
            self._samples -= count.failed
        while (now := self._next_stage(recorder)) and now.race and now.race.to_run:
            self._result.add(count := self._run_tables(recorder, now.race, "race"))
            if count.failed:
                return
        if now and now.tables.to_run:
            recorder.act(partial(log_tables, tables=now.tables.tables))
            self._result.add(count := self._run_tables(recorder, now.tables, "proof"))
            now = None if count.failed else self._next_stage(recorder)
        if now and now.search and now.search.winner and not now.search.winner_recorded:
            with self._console.status("recording the winner"), self._reported("the winner is not recorded"):
                proof = next(table for table in now.tables.tables if table.study == proof_name(now.search.search.study))
                self._console.print(record_winner(now.search, proof, self._read_record(), recorder))

    def _next_stage(self, recorder: Recorder) -> SweepPlan | None:
        """The plan from the record as it is now; None where the sweep was interrupted or the record does not answer."""
        if self._result.interrupted or not recorder.flush():
            return None
        plan = self._replan()
        if plan.search and plan.search.to_run:  # it was stopped between two trials
            self._result.interrupted = True
            return None
        return plan

    def _run_search_trials(self, recorder: Recorder, plan: SearchPlan) -> TrialCount:
        if self._prepared.record:
            plan = plan.with_trials(self._prepared.record.with_histories(plan.known))
        display = Display(
            self._console,
            "search",
            trials=plan.to_run,
            epochs=plan.to_run * plan.search.base.epochs,
            device=self._allocation.trial.device,
        )
        with display:
            return run_search(
                TrialSearch(plan, self._context),
                make_scheduler(plan),
                plan.to_run,
                resources=self._allocation.trial,
                observers=[recorder, display],
                storage_path=self._options.storage_path,
                name=f"{self._name}-search",
            )

    def _compute_surfaces(self, recorder: Recorder) -> None:
        record = self._read_record()
        if surfaces := plan_surfaces(self._result.plan.tables.tables, record.trials()):
            with self._reported("not all loss surfaces are computed"):
                compute_surfaces(surfaces, record, recorder, self._allocation.trial, self._context, self._console)
            recorder.flush()

    def _write_report(self, recorder: Recorder) -> None:
        with self._console.status("writing the report"), tempfile.TemporaryDirectory() as folder:
            with self._reported("no report"):
                record = self._read_record()
                data = ReportData(record, Path(folder))
                write_report(data)
                recorder.act(lambda client, run_id: client.log_artifacts(run_id, folder, REPORT_FOLDER))
                note = sweep_note(data, record, recorder.run_id)
                recorder.act(lambda client, run_id: client.set_tag(run_id, NOTE, note))
            recorder.flush()

    def _show(self, recorder: Recorder) -> None:
        """Bring the views of the MLflow UI up to date with the record."""
        with self._reported("the views of the MLflow UI are not up to date"):
            recorder.act(present(self._read_record()).write)

    @contextmanager
    def _reported(self, failure: str) -> Iterator[None]:
        """Report, and do not raise, what fails in computing something from the record: the finished trials must not
        look lost."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, UsageError):
                logger.exception(failure)
            cause = str(error).strip().splitlines()[-1:]
            line = f"{failure}: {''.join(cause)}; the trials are recorded all the same"
            self._console.print(line, style="red")
            self._result.broken = True

    def _read_record(self) -> Record:
        return Record(self._options.tracking_uri, self._options.experiment)


def _joined(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
