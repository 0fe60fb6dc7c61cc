"""What a trial asks for and what nodes have: CPUs, GPUs and GPU memory. No Ray here."""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from pathlib import Path

from trainable.errors import UsageError
from trainable.trial import Device

GPU_MEMORY = "gpu_memory_gb"
"""The custom resource by which a node tells the memory of all its GPUs together; Ray finds the others by itself."""
GPU_SHARE = 0.25
"""GPUs a trial, where there are any and the user asked for nothing: one small network does not fill a GPU (not
measured)."""
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container its limits: in `cpu.max`, and before version 2 in `cpu/cpu.cfs_*_us`."""
ROUNDING = 1e-9
"""One GPU holds ten trials of 0.1, although 1 / 0.1 may come out below 10 in floating point."""


@dataclass(frozen=True)
class Resources:
    """The resources of one trial or of one node."""

    cpus: float
    gpus: float = 0
    gpu_memory_gb: float = 0

    @property
    def device(self) -> Device:
        """What a trial with these resources computes on."""
        return "cuda" if self.gpus else "cpu"

    def slots(self, trial: "Resources") -> int:
        """How many trials with these resources run on this node at the same time. A share of a GPU is one of a single
        GPU, as Ray has it: eight GPUs hold eight trials of 0.6."""
        gpus = self.gpus
        if 0 < trial.gpus < 1:
            gpus = int(gpus) * int(1 / trial.gpus + ROUNDING) * trial.gpus
        pairs = ((self.cpus, trial.cpus), (gpus, trial.gpus), (self.gpu_memory_gb, trial.gpu_memory_gb))
        return int(min(has / needs + ROUNDING for has, needs in pairs if needs))

    def __str__(self) -> str:
        memory = f" with {self.gpu_memory_gb:g} GB" if self.gpu_memory_gb else ""
        return f"{self.cpus:g} CPU and {self.gpus:g} GPU{memory}"


@dataclass(frozen=True)
class Allocation:
    """What each trial of a sweep gets, and how many of them run at the same time."""

    trial: Resources
    slots: int
    """0 where they are not known yet: those of a cluster that the sweep has not joined."""
    gpus_assumed: bool = False
    """Whether trials are taken to get GPUs because the cluster, which was not asked, is expected to have some."""
    slots_assumed: bool = False
    """Whether there is taken to be one slot, because the cluster was not asked how many it has."""


class NoGpusError(UsageError):
    """GPUs were asked for and no node has one."""


def count_slots(nodes: Iterable[Resources], trial: Resources) -> int:
    """How many trials with these resources run on these nodes at the same time."""
    return sum(node.slots(trial) for node in nodes)


def local_resources() -> Resources:
    """What this machine has, without starting anything."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = (
        len(glob.glob("/dev/nvidia[0-9]*"))
        if visible is None
        else len(list(takewhile(_is_gpu, visible.split(","))))  # as CUDA does: what follows a bad entry is hidden
    )
    return Resources(local_cpus(), gpus)


def local_cpus() -> int:
    """The cores that this process may use: those that it may run on, as far as a container's limit goes."""
    return max(1, int(min(len(os.sched_getaffinity(0)), _container_cpus())))


def _container_cpus() -> float:
    """The limit that this container has for its CPU time, in cores; infinite where it has none."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((CGROUP / file).read_text() for file in files).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return int(quota) / int(period)
    return inf


def _is_gpu(entry: str) -> bool:
    """Whether an entry of `CUDA_VISIBLE_DEVICES` names a GPU: not -1, and not Slurm's NoDevFiles."""
    return re.fullmatch(r"\d+|(GPU|MIG)-\S+", entry.strip()) is not None


def trial_resources(
    nodes: Sequence[Resources], requested: Resources, *, default_gpus: bool, grows: bool = False
) -> Resources:
    """What a trial gets on these nodes: what was requested, and with `default_gpus` a share of a GPU where a node has
    one.

    Raises `NoGpusError` where GPUs were requested and there are none, and `UsageError` where no node has as much (both
    unless the cluster `grows`), where the GPU that trials share is too small for all of them, and where a cluster that
    grows does not tell yet whether it has GPUs.
    """
    if default_gpus:
        has_gpus = any(node.gpus for node in nodes)
        if grows and not has_gpus:
            raise UsageError(
                "no node has a GPU now, and those that start later may have some: give --gpus-per-trial, as 0.25, or 0 "
                "to train on CPUs"
            )
        requested = Resources(requested.cpus, GPU_SHARE if has_gpus else 0, requested.gpu_memory_gb)
    for node in nodes:
        _check_gpu_share(node, requested)
    if grows or count_slots(nodes, requested):
        return requested
    for option, has, wants in (
        ("cpus-per-trial", [node.cpus for node in nodes], requested.cpus),
        ("gpus-per-trial", [node.gpus for node in nodes], requested.gpus),
        ("gpu-memory-per-trial", [node.gpu_memory_gb for node in nodes], requested.gpu_memory_gb),
    ):
        if wants > max(has, default=0):
            kind = NoGpusError if requested.gpus and not any(node.gpus for node in nodes) else UsageError
            raise kind(f"--{option} {wants:g}: the largest node has {max(has, default=0):g}{_hint(option)}")
    raise UsageError(f"no node has {requested} together")


def _check_gpu_share(node: Resources, requested: Resources) -> None:
    """Raises `UsageError` where trials would overfill one GPU of a node: Ray fills one GPU after another, and counts
    the memory of all together."""
    if requested.gpu_memory_gb and requested.gpus < 1 and node.gpus > 1:
        if not node.gpu_memory_gb:
            raise UsageError(
                f"--gpu-memory-per-trial {requested.gpu_memory_gb:g}: a node with {node.gpus:g} GPUs does not tell its "
                f"memory{_hint('gpu-memory-per-trial')}"
            )
        share = requested.gpu_memory_gb * node.gpus / node.gpu_memory_gb
        if requested.gpus < share:
            raise UsageError(
                f"--gpus-per-trial {requested.gpus:g}: {requested.gpu_memory_gb:g} GB are {share:.0%} of one GPU of a "
                f"node with {node.gpus:g} of them; ask for {share:.2g} at least"
            )


def _hint(option: str) -> str:
    if option == "gpu-memory-per-trial":
        return f"; a node tells its own with ray start --resources '{{\"{GPU_MEMORY}\": 24}}'"
    return "; for a cluster that starts nodes on demand say how far it grows with --slots"
