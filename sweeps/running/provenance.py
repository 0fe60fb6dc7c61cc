"""What a sweep's run says of its origin: what was asked, on which data, with which code and versions."""

import os
import subprocess
from functools import partial
from importlib.metadata import distributions, version

from analysis.record.origin import CHANGES, log_origin
from analysis.record.origin import PACKAGES as PACKAGES_FILE
from analysis.record.recorded import CPUS_PER_TRIAL, DATA_FORM, FINGERPRINT, GPUS_PER_TRIAL, SEEDS, SLOTS
from sweeps.planning.prepare import Prepared
from sweeps.planning.resources import Allocation, local_cpus
from sweeps.planning.sweep_plan import SweepPlan
from sweeps.recording.drivers import DRIVER, end_abandoned, this_driver
from sweeps.recording.note import NOTE, started_note
from sweeps.recording.recorder import Recorder
from sweeps.recording.recorder_process import processes_for
from sweeps.recording.tracking import ensure_experiment
from sweeps.running.cluster import ROOT

PACKAGES = ("torch", "torchvision", "ray", "optuna", "mlflow")


def start_recorder(prepared: Prepared, plan: SweepPlan, allocation: Allocation, name: str) -> Recorder:
    """Start the record of a sweep, and end the runs that killed drivers have left."""
    options, trial, origin = prepared.options, allocation.trial, _origin()
    client, experiment_id = ensure_experiment(options.tracking_uri, options.experiment)
    if prepared.record:
        end_abandoned(prepared.record, options.storage_path)
    tags = {
        "data": options.data.name,
        DATA_FORM: prepared.data.form,
        FINGERPRINT: prepared.data.fingerprint,
        "git_commit": _commit(),
        DRIVER: this_driver(),
        **{package: version(package) for package in PACKAGES},
    }
    params = {
        "studies": ",".join(options.studies),
        "only": ",".join(options.only),
        "epochs": options.epochs,
        SEEDS: options.seeds,
        "samples": options.samples,
        "budget": options.budget.model_dump(exclude_none=True) if options.budget else {},
        "proof_seeds": options.proof_seeds,
        "difference_seeds": options.difference_seeds,
        "changes": options.changes,
        CPUS_PER_TRIAL: trial.cpus,
        GPUS_PER_TRIAL: trial.gpus,
        "gpu_memory_per_trial": trial.gpu_memory_gb,
        SLOTS: allocation.slots,
        "forecast_s": round(plan.tables.wall_s(allocation.slots)),
    }
    tables, searches = plan.tables.tables, [plan.search.search] if plan.search else []
    recorder = Recorder(
        client,
        experiment_id,
        name=name,
        tags=tags | {NOTE: started_note(tables, searches, options.seeds)},
        params=params,
        tables=tables,
        searches=searches,
        study_file=options.study_file,
        processes=processes_for(allocation.slots, local_cpus()),
    )
    recorder.act(partial(log_origin, run_id=recorder.run_id, origin=origin))
    return recorder


def _commit() -> str:
    """The commit of the code, with `-dirty` where it was changed since. For code that was sent without its repository,
    as to a cluster, it is what `GIT_COMMIT` says."""
    described = _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").strip()
    return described or os.environ.get("GIT_COMMIT") or "unknown"


def _origin() -> dict[str, str]:
    """The installed packages and, where there are any, the changes of tracked files since the commit. `docs` holds
    results alone."""
    packages = sorted({f"{each.name}=={each.version}" for each in distributions()}, key=str.lower)
    origin = {PACKAGES_FILE: "\n".join(packages) + "\n"}
    if changes := _git("diff", "HEAD", "--no-ext-diff", "--no-color", "--", ".", ":(exclude)docs"):
        origin[CHANGES] = changes
    return origin


def _git(*arguments: str) -> str:
    """What git prints of the repository of the code; empty where there is none. Installed code may lie in that of
    another project, with its virtual environment."""
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
