"""What a trial asks for and what nodes have: CPUs, GPUs and GPU memory. No Ray here."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeps.errors import UsageError

GPU_MEMORY = "gpu_memory_gb"
"""The custom resource by which a node tells the memory of all its GPUs together; Ray finds the others by itself."""
GPU_SHARE = 0.25
"""GPUs a trial where there are any and nothing was asked for: one small network does not fill a GPU (not measured)."""


@dataclass(frozen=True)
class Resources:
    """Of one trial, or of one node."""

    cpus: float
    gpus: float = 0
    gpu_memory_gb: float = 0

    @property
    def device(self) -> str:
        """What a trial with these resources computes on: `cpu` or `cuda`."""
        return "cuda" if self.gpus else "cpu"

    def slots(self, trial: "Resources") -> int:
        """How many trials that ask for so much run on this node at the same time."""
        pairs = ((self.cpus, trial.cpus), (self.gpus, trial.gpus), (self.gpu_memory_gb, trial.gpu_memory_gb))
        return int(min(has // asks for has, asks in pairs if asks))

    def __str__(self) -> str:
        memory = f" with {self.gpu_memory_gb:g} GB" if self.gpu_memory_gb else ""
        return f"{self.cpus:g} CPU and {self.gpus:g} GPU{memory}"


def count_slots(nodes: Iterable[Resources], trial: Resources) -> int:
    """How many trials that ask for so much run on these nodes at the same time."""
    return sum(node.slots(trial) for node in nodes)


def local_resources() -> Resources:
    """This machine's, found without starting anything."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = len(glob.glob("/dev/nvidia[0-9]*")) if visible is None else len([g for g in visible.split(",") if g.strip()])
    return Resources(len(os.sched_getaffinity(0)), gpus)


def trial_resources(nodes: Sequence[Resources], asks: Resources, default_gpus: bool, grows: bool = False) -> Resources:
    """What a trial asks for; with `default_gpus`, a share of a GPU where any node has one.

    Raises `UsageError` where no node has as much, unless the cluster `grows`, and where a GPU that trials share is too
    small for all who would share it.
    """
    if default_gpus:
        asks = Resources(asks.cpus, GPU_SHARE if any(node.gpus for node in nodes) else 0, asks.gpu_memory_gb)
    for node in nodes:
        if asks.gpu_memory_gb and asks.gpus < 1 and node.gpus > 1:
            share = asks.gpu_memory_gb * node.gpus / node.gpu_memory_gb if node.gpu_memory_gb else 1
            if asks.gpus < share:  # Ray fills one GPU after another and counts the memory of all together
                raise UsageError(
                    f"--gpus-per-trial {asks.gpus:g}: {asks.gpu_memory_gb:g} GB are {share:.2g} of one of the GPUs of "
                    f"a node with {node.gpus:g} of them; ask for that share at least"
                )
    if grows or count_slots(nodes, asks):
        return asks
    for option, has, wants in (
        ("cpus-per-trial", [node.cpus for node in nodes], asks.cpus),
        ("gpus-per-trial", [node.gpus for node in nodes], asks.gpus),
        ("gpu-memory-per-trial", [node.gpu_memory_gb for node in nodes], asks.gpu_memory_gb),
    ):
        if wants > max(has, default=0):
            raise UsageError(f"--{option} {wants:g}: the largest node has {max(has, default=0):g}{_hint(option)}")
    raise UsageError(f"no node has {asks} together")


def _hint(option: str) -> str:
    if option == "gpu-memory-per-trial":
        return f"; a node tells its own with ray start --resources '{{\"{GPU_MEMORY}\": 24}}'"
    return "; for a cluster that starts nodes on demand say how far it grows with --slots"
