"""What this process computes with: the device that models run on, and the installed libraries.

torch is imported only when a device is chosen.
"""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from configs.failures import PixelmillError

DeviceKind = Literal["cuda", "mps", "cpu"]
MEGABYTE = 2**20
DEVICE = "device"
PLATFORM = "platform"
# Libraries that touch pixels. All installed ones are named, even for a step that uses none: the other steps of its
# image mostly ran in the same process.
LIBRARIES = (
    "pixelmill",
    "pillow",
    "numpy",
    "opencv-python-headless",
    "torch",
    "diffusers",
    "transformers",
    "onnxruntime",
    "onnxruntime-gpu",
    "rembg",
    "pymatting",
    "realesrgan",
)
MISSING = (
    "This installation cannot compute images: install `pixelmill[worker]`, or let the workers of a fleet do it "
    "(PREFECT_API_URL)."
)


class DeviceUnavailable(PixelmillError):
    """The device that the settings ask for is missing."""


@dataclass(frozen=True, slots=True)
class Device:
    """The device of a process. Memory in MB (2**20 bytes)."""

    kind: DeviceKind  # as torch names it; CUDA_VISIBLE_DEVICES selects one of several GPUs
    name: str
    total_mb: int


def choose_device(setting: Literal["auto", "cuda", "mps", "cpu"]) -> Device:
    """Return the device of this process. `auto` takes the first of CUDA, MPS and CPU that is available.

    Raises DeviceUnavailable, with the setting to change, if the requested one is not. On a CPU it also limits torch to
    the cores that this process really has.
    """
    if setting != "auto":
        return _OPENERS[setting]()
    for kind in ("cuda", "mps"):
        with suppress(DeviceUnavailable):
            return _OPENERS[kind]()
    return _open_cpu()


def available_cores() -> int:
    """Return the number of cores for this process: its affinity, or a container's CPU quota if that is smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota_cores(Path("/sys/fs/cgroup/cpu.max")) or cores))


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds; 0 if the process is gone or the system does not report it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def held_mb(device: Device) -> int:
    """Return the used memory of the device, MB, such that its growth over a load is the memory of the load."""
    if device.kind == "cuda":
        import torch

        # onnxruntime allocates beside torch: only the driver sees both.
        free, total = torch.cuda.mem_get_info()
        return max((total - free) // MEGABYTE, torch.cuda.memory_reserved() // MEGABYTE)
    if device.kind == "mps":
        import torch

        return int(torch.mps.driver_allocated_memory()) // MEGABYTE
    return resident_bytes(os.getpid()) // MEGABYTE


def release_cached(device: Device) -> None:
    """Return torch's cached memory to the device. Never imports torch."""
    torch = sys.modules.get("torch")
    if torch is not None and device.kind != "cpu":
        getattr(torch, device.kind).empty_cache()


def _quota_cores(cpu_max: Path) -> int | None:
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))


def _open_cuda() -> Device:
    import torch

    if not torch.cuda.is_available():
        raise DeviceUnavailable(
            "PIXELMILL_DEVICE is 'cuda', but torch finds no CUDA device. Install a CUDA build of torch and its driver, "
            "check CUDA_VISIBLE_DEVICES (and `--gpus` of the container), or set PIXELMILL_DEVICE to 'auto' or 'cpu'."
        )
    _, total = torch.cuda.mem_get_info()
    return Device("cuda", torch.cuda.get_device_name(), total // MEGABYTE)


def _open_mps() -> Device:
    import torch

    if not torch.backends.mps.is_available():
        raise DeviceUnavailable(
            "PIXELMILL_DEVICE is 'mps', but torch finds no MPS on this machine. "
            "Set PIXELMILL_DEVICE to 'auto' or 'cpu'."
        )
    return Device("mps", "Apple GPU", int(torch.mps.recommended_max_memory()) // MEGABYTE)


def _open_cpu() -> Device:
    cores = available_cores()
    torch = sys.modules.get("torch")
    if "OMP_NUM_THREADS" not in os.environ:
        # torch sees the affinity but no container quota: its threads would compete for cores that it does not have.
        if torch is not None:
            torch.set_num_threads(cores)
        else:
            os.environ["OMP_NUM_THREADS"] = str(cores)
    return Device("cpu", f"CPU, {cores} cores", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MEGABYTE)


_OPENERS: dict[DeviceKind, Callable[[], Device]] = {"cuda": _open_cuda, "mps": _open_mps, "cpu": _open_cpu}


# -- the installation ------------------------------------------------------------------------------------------------
def installed_version() -> str:
    """Return Pixelmill's version, or `unknown` if it runs from a folder that is not installed."""
    return _version("pixelmill") or "unknown"


def can_compute() -> bool:
    """Return whether the libraries of the extra `worker` are installed, without importing them."""
    return find_spec("torch") is not None


def made_with(device: Device | None) -> Mapping[str, str]:
    """Return library -> version of the installed ones, `platform`, and `device` if there is one.

    The same for all images that this process makes on the device. Imports none of the libraries.
    """
    if device is None:
        return _versions()
    return {**_versions(), DEVICE: _processor() if device.kind == "cpu" else device.name}


@cache
def _processor() -> str:
    """Return the kind of CPU, which determines its kernels, but not its number of cores, which does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or "CPU"


@cache
def _versions() -> Mapping[str, str]:
    found = {library: known for library in LIBRARIES if (known := _version(library)) is not None}
    return {**found, PLATFORM: f"{sys.platform} {platform.machine()}"}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
