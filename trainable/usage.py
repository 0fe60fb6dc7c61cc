"""The machine that a training runs on, and what it takes of it: memory, and processor time."""

import contextlib
import platform
import time
from collections.abc import Iterator

import torch

from trainable.trial import Device, Environment, Usage

MIB = 2**20


def environment(device: torch.device) -> Environment:
    """The device, host and versions that this process trains with. Raises `ValueError` for a device that is neither a
    CPU nor a CUDA GPU."""
    kind: Device
    match device.type:
        case "cuda":
            kind, name = "cuda", torch.cuda.get_device_name(device)
        case "cpu":
            kind, name = "cpu", f"{_processor()}, {torch.get_num_threads()} thread(s)"
        case unknown:
            raise ValueError(f"device {unknown!r} is unknown; allowed: cpu, cuda")
    return Environment(
        device=kind,
        device_name=name,
        host=platform.node(),
        python=platform.python_version(),
        torch=torch.__version__,
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Meter:
    """Measures the trainings of one trial in this process. Memory of earlier trials does not count; that of the loaded
    libraries does, and on a GPU what cuDNN takes while it chooses its kernels in the first steps."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._cpu_s = self._wall_s = 0.0
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self._cuda)
        else:
            with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")  # proc(5): resets the peak of resident memory

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the processor and the time while this is open."""
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            self._cpu_s += time.process_time() - cpu_s
            self._wall_s += time.perf_counter() - wall_s

    def usage(self) -> Usage | None:
        """What was measured so far; None where the system does not tell."""
        peak = torch.cuda.max_memory_reserved(self._cuda) if self._cuda else _peak_resident()
        if peak is None or not self._wall_s:
            return None
        return Usage(peak_memory_mb=peak / MIB, cpu_share=self._cpu_s / self._wall_s)


def _peak_resident() -> int | None:
    """The peak of this process's resident memory in bytes; None where there is no Linux."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
