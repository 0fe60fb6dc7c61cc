"""What each trial of a sweep gets of the nodes that there are, and how many trials run at the same time."""

from collections.abc import Sequence
from dataclasses import replace

from analysis.writing.words import duration
from sweeps.planning.forecast import make_forecast
from sweeps.planning.options import Options
from sweeps.planning.prepare import Prepared
from sweeps.planning.resources import (
    GPU_SHARE,
    Allocation,
    NoGpusError,
    Resources,
    count_slots,
    local_resources,
    trial_resources,
)
from sweeps.planning.sweep_plan import plan_sweep
from trainable.errors import UsageError


def allocate(prepared: Prepared, nodes: Sequence[Resources]) -> Allocation:
    """The resources of each trial on these nodes, and how many trials run at the same time.

    Raises `UsageError` where no node has what a trial asks for. Where that is GPUs, it says how long CPUs would take.
    """
    options = prepared.options
    try:
        trial = trial_resources(
            nodes, options.requested, default_gpus=options.gpus_per_trial is None, grows=options.slots is not None
        )
    except NoGpusError as error:
        on_cpus = Resources(options.cpus_per_trial)
        allocation = Allocation(on_cpus, max(count_slots(nodes, on_cpus), 1))
        try:
            forecast = make_forecast(prepared, plan_sweep(prepared, allocation), allocation)
        except UsageError:  # what is asked for cannot be planned on CPUs, such as a budget at the price of GPUs
            raise error from None
        raise UsageError(
            f"{error}; without GPUs (--gpus-per-trial 0) the sweep takes about {duration(forecast.total_s)} on "
            f"{allocation.slots} CPU slot(s)"
        ) from error
    return Allocation(trial, options.slots or count_slots(nodes, trial))


def expected_allocation(prepared: Prepared) -> Allocation:
    """The allocation as far as it is known before a cluster is joined. With `--slots` it is that of a cluster, too."""
    options = prepared.options
    return _on_a_cluster(options) if options.address or options.slots else allocate(prepared, [local_resources()])


def allocate_dry(prepared: Prepared) -> Allocation:
    """The expected allocation, with at least one slot so that its time can be forecast."""
    expected = expected_allocation(prepared)
    return expected if expected.slots else replace(expected, slots=1, slots_assumed=True)


def _on_a_cluster(options: Options) -> Allocation:
    """On a cluster that was not asked: it is expected to have GPUs."""
    asked, assumed = options.requested, options.gpus_per_trial is None
    gpus = GPU_SHARE if assumed else asked.gpus
    return Allocation(Resources(asked.cpus, gpus, asked.gpu_memory_gb), options.slots or 0, gpus_assumed=assumed)
