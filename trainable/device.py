"""The device that a process computes on: how torch uses it, and what says that its memory ran out.

It is passed down from the resources that the process was given, and never looked for: a GPU that torch sees may have
been given to nobody, or to another process.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, assert_never

import torch

from trainable.config import Config
from trainable.errors import first_line

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's allocator, from its `malloc.h`."""
KEPT_BYTES = 1 << 30
"""How much freed memory a process keeps, and the size from which a piece is not kept."""
OLD_MMAP_THRESHOLD = 32 << 20
"""The largest such size that older versions of glibc take: `DEFAULT_MMAP_THRESHOLD_MAX` in its `malloc.c`."""


class DeviceError(RuntimeError):
    """Torch cannot use the device that this process was given."""


def prepare_torch(device: str | torch.device) -> torch.device:
    """The device, with torch's global options set for this process, so that networks run fast and in the precision of
    their configs. Raises `DeviceError` for a GPU that torch cannot use, and for another kind of device."""
    device = torch.device(device)
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device {device.type!r} is unknown; allowed: cpu, cuda")
    if device.type == "cuda":
        _try_gpu(device)
    torch.set_flush_denormal(True)  # strong weight decay makes weights denormal, which is 10 times slower on a CPU
    _compute_fp32_in_fp32()
    torch.backends.cudnn.benchmark = True
    if device.type == "cpu":
        _keep_freed_memory()
    return device


@contextmanager
def random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Within it, what torch draws is a function of the seed; what it draws outside is as without it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # code of one's own may draw on the CPU also for a GPU
        _generator_of(device).manual_seed(seed)
        yield


def _generator_of(device: torch.device) -> torch.Generator:
    """The generator that dropout draws from. `torch.manual_seed` would seed those of all devices."""
    if device.type == "cpu":
        return torch.default_generator
    return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]


def _try_gpu(device: torch.device) -> None:
    """Raises `DeviceError` for a GPU that computes nothing: `torch.cuda.is_available` does not see one that is too old
    for this torch, is not there or is another process's alone."""
    try:
        torch.zeros(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        raise DeviceError(
            f"{platform.node()}: torch {torch.__version__} cannot use the GPU that it was given: {first_line(error)}; "
            "--gpus-per-trial 0 trains on CPUs"
        ) from error


def _compute_fp32_in_fp32() -> None:
    """Let no GPU and no CPU round the operands of fp32 products to TF32 or bf16, whatever the environment or the
    session has asked for: a config that says fp32 gets it."""
    backends: Any = torch.backends  # torch makes some of these attributes at import, unknown to its types
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False  # else torch refuses to read this flag after the next two
    backends.cudnn.conv.fp32_precision = "ieee"
    backends.cudnn.rnn.fp32_precision = "ieee"
    backends.mkldnn.conv.fp32_precision = "ieee"


def _keep_freed_memory() -> None:
    """Let the C library keep the memory that a training step frees, for the next step. By default it gives large pieces
    back to the system and gets them again page by page, which takes up to a fifth of a step (`man 3 mallopt`)."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        # in this order: once either is set, glibc adapts neither to the program any more
        if mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) or mallopt(M_MMAP_THRESHOLD, OLD_MMAP_THRESHOLD):
            mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def autocast(config: Config, device: torch.device) -> torch.autocast:
    """A context in which networks compute in the config's precision. Raises `DeviceError` for a GPU that lacks it."""
    match config.precision:
        case "fp32":
            return torch.autocast(device.type, torch.bfloat16, enabled=False)
        case "bf16":
            if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
                raise DeviceError(
                    f"{platform.node()}: {torch.cuda.get_device_name(device)} does not compute in bf16; "
                    "--precision fp32 does without it"
                )
            return torch.autocast(device.type, torch.bfloat16)
        case unknown:
            assert_never(unknown)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out. For a CPU's memory PyTorch has no class of error, only a text."""
    texts = ("out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or is_out_of_gpu_memory(error) or any(text in str(error) for text in texts)


def is_of_gpu(error: BaseException) -> bool:
    """Whether an error says that a GPU or one of its libraries failed, whatever code asked it to compute."""
    texts = ("CUDA error", "CUDA driver error", "cuDNN error", "CUBLAS_STATUS", "NCCL error")
    return isinstance(error, torch.AcceleratorError) or any(text in str(error) for text in texts)


def is_out_of_gpu_memory(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that a GPU's memory ran out. The driver, cuBLAS and cuDNN say it in
    texts of their own. The last two have other causes, too, which are rare."""
    texts = (
        "CUDA error: out of memory",
        "CUDA driver error: out of memory",
        "STATUS_ALLOC_FAILED",
        "ALLOCATION_FAILED",
        "unable to find an engine to execute this computation",
        "CUBLAS_STATUS_NOT_INITIALIZED",
    )
    if isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in texts):
        return True
    former = error.__cause__ or error.__context__
    return former is not None and is_out_of_gpu_memory(former)
