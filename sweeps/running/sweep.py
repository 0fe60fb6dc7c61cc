"""One sweep, executed: what the record lacks of the chosen studies is run on Ray and recorded."""

import logging
import subprocess
import tempfile
from collections.abc import Callable
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from pyarrow import ArrowException
from rich.console import Console

from analysis.record import PROBED, Record
from analysis.report import make_report
from sweeps import cluster, tracking
from sweeps.cluster import ROOT
from sweeps.display import Display, print_forecast
from sweeps.errors import UsageError
from sweeps.execute import Outcome, run_search, run_trials
from sweeps.forecast import PROBE_EVERY
from sweeps.prepare import Prepared
from sweeps.recorder import Recorder
from sweeps.resources import count_slots, local_resources
from sweeps.search import Search
from sweeps.suggest import TrialSearch, make_scheduler
from sweeps.surfaces import compute, missing
from sweeps.winner import crown
from trainable.storage import TrialSpec, check_writable
from trainable.study import ResolvedTable

logger = logging.getLogger(__name__)

REPORT_FOLDER = "report"
PACKAGES = ("torch", "torchvision", "ray", "optuna", "mlflow")


def run(prepared: Prepared, console: Console) -> tuple[Outcome, tuple[ResolvedTable, ...]]:
    """Start or join Ray and run the sweep to its end, or to Ctrl-C; returns how it ended and the tables that it ran.

    Raises `UsageError` where the storage cannot be written or the cluster cannot give what a trial asks for.
    """
    sweep = _Sweep(prepared, console)
    try:
        return sweep.run(), sweep.tables
    finally:
        ray.shutdown()


class _Sweep:
    def __init__(self, prepared: Prepared, console: Console) -> None:
        self._prepared, self._options, self._console = prepared, prepared.options, console
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # our display says it once, in a line
        _check_storage(self._options.storage_path)
        if self._options.address is None:
            prepared.asks([local_resources()])
        with console.status("starting Ray"):
            nodes = cluster.connect(self._options.address)
        self._asks = prepared.asks(nodes)
        self._plan, summary = prepared.forecast(self._asks, prepared.slots(nodes, self._asks))
        self._search = prepared.search()
        print_forecast(console, summary)
        if not count_slots(nodes, self._asks):
            console.print(f"no node can run a trial yet: waiting for some with {self._asks}; see ray status")
        self._name = self._options.name or f"{'-'.join(self._options.studies)}-{datetime.now():%Y%m%d-%H%M%S}"

    @property
    def tables(self) -> tuple[ResolvedTable, ...]:
        """Those of the plan, as placed for what trials run on here."""
        return self._plan.tables

    def run(self) -> Outcome:
        outcome = Outcome()
        if not self._prepared.left_of(self._plan):  # on a cluster only the nodes tell what trials run on
            return outcome
        recorder = self._start_recorder()
        try:
            if self._plan.to_run:
                outcome = self._run_tables(recorder)
            if self._search and not outcome.interrupted:
                outcome = outcome.and_then(self._run_search(recorder, self._search))
            if not outcome.interrupted and recorder.flush():
                outcome.broken |= not self._look_back(recorder)
            status = "KILLED" if outcome.interrupted else "FAILED" if outcome.failed else "FINISHED"
        except BaseException:
            status = "KILLED"
            raise
        finally:
            with self._console.status("finishing the record"):
                outcome.undelivered = not recorder.finish(status)
        return outcome

    def _run_tables(self, recorder: Recorder) -> Outcome:
        specs, work = [], []
        for planned in self._plan.to_run:
            tags = {
                "study": _joined(table.study for table in planned.tables),
                "table": _joined(table.number for table in planned.tables),
                "row": _joined(planned.rows),
            }
            if planned.probed:
                tags[PROBED] = str(PROBE_EVERY)
            for seeds in planned.trials:
                spec = TrialSpec(
                    key=planned.key,
                    name=planned.name,
                    config=planned.config,
                    seeds=seeds,
                    tags=tags,
                    probe_every=PROBE_EVERY if planned.probed else None,
                    **self._common,
                )
                specs.append(spec.model_dump(mode="json"))
                work.append((planned.key, planned.trial_s))
        epochs = sum(spec["config"]["epochs"] for spec in specs)
        with Display(self._console, "ablations", work, len(specs), epochs, self._asks.device) as display:
            return run_trials(specs, observers=[recorder, display], **self._where("ablations"))

    def _run_search(self, recorder: Recorder, search: Search) -> Outcome:
        outcome = Outcome()
        if search.to_run:
            known = self._with_histories(search)
            searcher = TrialSearch(known, {"seeds": (0,), **self._common})
            with Display(
                self._console, "search", [], search.to_run, search.to_run * search.base.epochs, self._asks.device
            ) as display:
                outcome = run_search(
                    searcher,
                    make_scheduler(known),
                    search.to_run,
                    observers=[recorder, display],
                    **self._where("search"),
                )
        if not outcome.interrupted and recorder.flush():
            record = Record(self._options.tracking_uri, self._options.experiment)
            searched = search.with_trials(record.trials())
            if (best := searched.best) and not searched.crowned:
                with self._console.status("testing the winner"):
                    test = partial(crown, best, record.client, recorder, self._options)
                    outcome.broken = not self._attempt("the winner is not tested", test)
        return outcome

    def _attempt(self, failure: str, act: Callable[[], object]) -> bool:
        """Whether something computed from the record succeeded. What fails must not make finished trials look lost."""
        try:
            act()
        except Exception as error:
            if not isinstance(error, UsageError):
                logger.exception(failure)
            cause = str(error).strip().splitlines()[-1:]
            self._console.print(f"[red]{failure}:[/red] {''.join(cause)}; the trials are recorded all the same")
            return False
        return True

    def _look_back(self, recorder: Recorder) -> bool:
        """What is computed from the record: the loss surfaces that it lacks, and the report. Whether all succeeded."""
        record, computed = Record(self._options.tracking_uri, self._options.experiment), True
        if surfaces := missing(self.tables, record.trials()):
            measure = partial(compute, surfaces, record, recorder, self._asks, self._options, self._console)
            computed = self._attempt("not all loss surfaces are computed", measure)
            recorder.flush()
        with self._console.status("writing the report"), tempfile.TemporaryDirectory() as folder:
            written = self._attempt("no report", partial(make_report, record, Path(folder)))
            if written:
                recorder.act(lambda client, run_id: client.log_artifacts(run_id, folder, REPORT_FOLDER))
                recorder.flush()
        return computed and written

    def _with_histories(self, search: Search) -> Search:
        record = self._prepared.record
        return search.with_trials(record.with_histories(search.known)) if record else search

    def _where(self, part: str) -> dict[str, Any]:
        storage = self._options.storage_path
        return {"resources": self._asks, "storage_path": storage, "name": f"{self._name}-{part}"}

    @property
    def _common(self) -> dict[str, Any]:
        """What all trial specs of the sweep share."""
        return {
            "fingerprint": self._prepared.fingerprint,
            "data_dir": self._options.trial_data_dir,
            "storage_path": self._options.storage_path,
        }

    def _start_recorder(self) -> Recorder:
        options = self._options
        client, experiment_id = tracking.ensure_experiment(options.tracking_uri, options.experiment)
        if self._prepared.record:
            tracking.end_abandoned(self._prepared.record)
        tags = {
            "data": options.data,
            "data_form": self._prepared.form,
            "data_fingerprint": self._prepared.fingerprint,
            "git_commit": _commit(),
            tracking.DRIVER: tracking.this_driver(),
            **{package: version(package) for package in PACKAGES},
        }
        params = {
            "studies": ",".join(options.studies),
            "only": ",".join(options.only),
            "epochs": options.epochs,
            "seeds": options.seeds,
            "samples": options.samples,
            "changes": options.changes,
            "cpus_per_trial": self._asks.cpus,
            "gpus_per_trial": self._asks.gpus,
            "gpu_memory_per_trial": self._asks.gpu_memory_gb,
            "slots": self._plan.slots,
            "forecast_s": round(self._plan.wall_s),
        }
        return Recorder(client, experiment_id, name=self._name, tags=tags, params=params, tables=self.tables)


def _check_storage(storage_path: str) -> None:
    try:
        check_writable(storage_path)
    except (OSError, ArrowException) as error:
        raise UsageError(f"--storage-path {storage_path}: cannot be written: {error}") from error


def _joined(words: Any) -> str:
    return ", ".join(dict.fromkeys(words))


def _commit() -> str:
    """The commit of the code, with `-dirty` where it was changed since."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
