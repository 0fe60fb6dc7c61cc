"""One sweep, run: what the record lacks of the chosen studies is trained on Ray and recorded."""

from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import ray
from pyarrow import ArrowException
from rich.console import Console

from analysis.commandline.start import ignore_interrupts
from analysis.record.mlflow_record import Record
from analysis.record.recorded import VAL_ERROR, RunStatus
from sweeps.notifier import notifying
from sweeps.planning.allocate import allocate, expected_allocation
from sweeps.planning.forecast import make_forecast
from sweeps.planning.prepare import Prepared
from sweeps.planning.resources import Allocation, count_slots
from sweeps.planning.search_plan import SearchPlan
from sweeps.planning.show import print_forecast
from sweeps.planning.sweep_plan import SweepPlan, plan_sweep
from sweeps.planning.table_plan import TablePlan
from sweeps.recording.claims import TAKEN, Claimant, claiming
from sweeps.recording.outage import patiently
from sweeps.recording.recorder import log_tables
from sweeps.recording.sweep_report import say_failure, sweep_report
from sweeps.recording.tracking import named_failures
from sweeps.recording.views import present
from sweeps.running import cluster
from sweeps.running.complete_sweep import end_complete_sweep
from sweeps.running.display import Display
from sweeps.running.provenance import start_recorder
from sweeps.running.results import print_live_page
from sweeps.running.searcher import TrialSearch, make_scheduler
from sweeps.running.shared_work import SharedWork
from sweeps.running.specs import TrialContext
from sweeps.running.surface_tasks import SurfaceTasks
from sweeps.running.sweep_result import SweepResult
from sweeps.running.trials import Stage, run_search, run_trials
from sweeps.running.winner import record_winner
from sweeps.stages import mark_storage, remove_stages, stage_name
from trainable.errors import UsageError
from trainable.search_definition import proof_name
from trainable.storage import check_writable, experiment_folder

SILENT = "it did not answer for a while"
"""Why the record is incomplete, where it has come back before anybody could ask."""


def run(prepared: Prepared, console: Console) -> SweepResult:
    """Start or join Ray and run the sweep to its end, or to Ctrl-C.

    Raises `UsageError` where the storage cannot be written, no node has what a trial asks for, or this machine's GPUs
    cannot be used, and `SweepError` where the record or the storage fails later.
    """
    options = prepared.options
    _check_storage(options.storage_path)
    if options.address is None and expected_allocation(prepared).trial.gpus:
        with console.status("trying the GPU"):
            cluster.check_gpu()
    with console.status("starting Ray"):
        nodes = cluster.connect(options.address)
    try:
        allocation = allocate(prepared, nodes)
        plan = plan_sweep(prepared, allocation)
        print_forecast(console, make_forecast(prepared, plan, allocation))
        if not count_slots(nodes, allocation.trial):
            console.print(f"no node can run a trial yet: waiting for some with {allocation.trial}; see ray status")
        with named_failures(options.tracking_uri):
            # only now, on a cluster, is it known whether trials run on CPUs or GPUs, and so what the record lacks
            if plan.complete and prepared.record:
                return SweepResult(plan, broken=not end_complete_sweep(options, prepared.record, console))
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
        self._name = self._options.sweep_name()
        self._context = TrialContext(
            prepared.data.fingerprint,
            self._options.trial_data_dir,
            experiment_folder(self._options.storage_path, self._options.experiment),
            allocation.slots,
        )
        self._result = SweepResult(plan)
        self._logged_tables = plan.tables.tables
        self._finishing = False

    def run(self) -> SweepResult:
        result = self._result
        with notifying(self._options, self._name, self._console) as self._notifier, ExitStack() as until_recorded:
            self._recorder = recorder = start_recorder(self._prepared, self._plan, self._allocation, self._name)
            try:
                print_live_page(self._options, self._name, self._console)
                mark = mark_storage(self._name, self._options.storage_path, recorder.run_id)
                self._context = replace(self._context, storage_mark=mark)
                self._record = Record(self._options.tracking_uri, self._options.experiment)
                claimant = until_recorded.enter_context(self._claiming())
                self._shared = SharedWork(claimant, self._replan, self._wait_for_record, self._console)
                self._run_stages()
            except KeyboardInterrupt:
                result.interrupted = True
                raise
            except BaseException:
                result.broken = True
                raise
            finally:
                self._finishing = True
                ignore_interrupts()
                with self._console.status("finishing the record"):
                    if not recorder.finish(result.status):
                        result.undelivered = recorder.problem or SILENT
                    remove_stages(self._options.storage_path, recorder.run_id)
                self._notifier.status = result.status
        return result

    def _claiming(self) -> AbstractContextManager[Claimant]:
        assert self._record.experiment_id is not None
        return claiming(
            self._record.client,
            self._record.experiment_id,
            self._recorder.run_id,
            self._options.storage_path,
            self._stop_taken_over,
        )

    def _stop_taken_over(self) -> None:
        if not self._finishing:
            cluster.stop_driver()
            self._console.print(f"{TAKEN}: this one stops", style="red")

    def _run_stages(self) -> None:
        self._show()
        self._share_tables("ablations", lambda plan: plan.tables.without_differences)
        if self._plan.search:
            self._shared.run(lambda plan: plan.search_claims, self._run_search)
            self._share_tables("differences", lambda plan: plan.tables)
        self._shared.run(lambda plan: [surface.claim for surface in plan.surfaces.ready], self._compute_surfaces)
        if self._wait_for_record():
            self._result.plan = self._replan()
            self._log_tables()  # another sweep may have found the winner, whose proof is a table
            if self._wait_for_record():
                self._write_report()

    def _wait_for_record(self) -> bool:
        """Wait until the record has all that it was given. Returns whether the next step can be planned: the record
        has it, and nobody stopped the sweep."""
        if self._result.interrupted or self._result.undelivered:
            return False
        if not self._recorder.flush():
            self._result.undelivered = self._recorder.problem or SILENT
            return False
        return True

    def _share_tables(self, title: str, of: Callable[[SweepPlan], TablePlan]) -> None:
        """Train these tables of a plan, as far as no other sweep does."""
        self._shared.run(
            lambda plan: of(plan).claims,
            lambda plan, claims: self._run_tables(of(plan).limited_to(claims), title),
        )

    def _replan(self) -> SweepPlan:
        """What the record lacks now, without what this sweep has given up: the next one tries that again."""
        trials = tuple(patiently(self._record.trials))
        given_up = {t.key for t in trials if t.sweep == self._recorder.run_id and t.status == RunStatus.FAILED}
        return plan_sweep(replace(self._prepared, trials=trials), self._allocation, given_up=given_up)

    def _run_tables(self, tables: TablePlan, title: str) -> None:
        specs = self._context.specs(tables)
        display = Display(
            self._console,
            title,
            trials=len(specs),
            epochs=sum(spec.config.epochs for spec in specs),
            trial_s={planned.key: planned.trial_s for planned in tables.to_run},
            total_s=tables.slot_s,
        )
        with display:
            count = run_trials(specs, self._stage(title, display, at_once=self._options.slots))
        self._result.add(count)

    def _stage(self, title: str, display: Display, at_once: int | None) -> Stage:
        return Stage(
            name=stage_name(self._name, title, self._recorder.run_id),
            resources=self._allocation.trial,
            observers=[self._recorder, self._notifier, display],
            storage_path=self._options.storage_path,
            at_once=at_once,
        )

    def _run_search(self, plan: SweepPlan, _: Set[str]) -> None:
        """Search, race the best configs, prove the winner: each stage as far as the record lacks it."""
        assert plan.search is not None
        while plan.search.to_run:  # again where the record counts less time against the budget than was trained here
            refused = self._recorder.refused
            self._run_search_trials(plan.search)
            if not self._wait_for_record():
                return
            plan = self._replan()
            assert plan.search is not None
            if plan.search.to_run and self._recorder.refused > refused:  # the next sweep tries again
                return
        self._share_tables("race", lambda plan: plan.race)
        if not self._wait_for_record():
            return
        self._result.plan = self._replan()
        self._log_tables()  # those of the proof are new
        self._share_tables("proof", lambda plan: plan.tables.without_differences)
        if self._wait_for_record():
            self._record_winner(self._replan())

    def _log_tables(self) -> None:
        tables = self._result.plan.tables.tables
        if tables != self._logged_tables:
            self._logged_tables = tables
            self._recorder.act(partial(log_tables, run_id=self._recorder.run_id, tables=tables))

    def _run_search_trials(self, plan: SearchPlan) -> None:
        known = patiently(partial(self._record.with_histories, plan.known, (VAL_ERROR,)))
        plan = plan.with_histories(known)
        searcher = TrialSearch(plan, self._context)
        display = Display(
            self._console,
            "search",
            trials=plan.to_run,
            epochs=plan.to_run * plan.search.base.epochs,
        )
        with display:
            count = run_search(
                searcher,
                make_scheduler(plan),
                plan.to_run,
                self._stage("search", display, at_once=self._allocation.slots),
            )
        self._result.add(count)

    def _record_winner(self, plan: SweepPlan) -> None:
        """Record a search's winner if its proof is whole."""
        search = plan.search
        if not search or not search.winner or search.winner_recorded:
            return
        proof = next(table for table in plan.tables.tables if table.study == proof_name(search.search.study))
        if {row.key for row in proof.rows} & {planned.key for planned in plan.tables.to_run}:
            return
        with self._console.status("recording the winner"), self._reported("the winner is not recorded"):
            refused = self._recorder.refused
            line = record_winner(search, proof, self._record, self._recorder)
            if self._wait_for_record() and self._recorder.refused == refused:
                self._console.print(line)

    def _compute_surfaces(self, plan: SweepPlan, claims: Set[str]) -> None:
        tasks = SurfaceTasks(self._record, self._recorder, self._allocation.trial, self._context, self._console)
        mine = [surface for surface in plan.surfaces.ready if surface.claim in claims]
        with self._reported("some loss surfaces are missing"):
            tasks.compute(mine, lambda surface, error: self._say(f"no loss surface of {surface.trial.name}", error))

    def _write_report(self) -> None:
        with self._console.status("writing the report"), self._reported("no report"):
            self._recorder.act(sweep_report(self._record, self._recorder.run_id, self._options.prices))
            self._recorder.flush()

    def _show(self) -> None:
        """Bring the views of the MLflow UI up to date with the record."""
        with self._reported("the views of the MLflow UI are not up to date"):
            self._recorder.act(present(self._record).write)

    @contextmanager
    def _reported(self, failure: str) -> Iterator[None]:
        """Say, and do not raise, what fails in computing something from the record."""
        try:
            yield
        except Exception as error:
            self._say(failure, error)

    def _say(self, failure: str, error: Exception) -> None:
        say_failure(self._console, failure, error)
        self._result.broken = True
