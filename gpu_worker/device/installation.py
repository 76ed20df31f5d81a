"""The installation that this process runs in: its versions, and whether it can compute images."""

import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from gpu_worker.device.device import Device

MISSING = (
    "This installation cannot compute images: install `pixelmill[worker]`, or let the workers of a fleet do it "
    "(PREFECT_API_URL)."
)


def installed_version() -> str:
    """Pixelmill's version; `unknown` where it runs from a folder that is not installed."""
    try:
        return version("pixelmill")
    except PackageNotFoundError:
        return "unknown"


def can_compute() -> bool:
    """Whether the libraries of the extra `worker` are installed. Imports none of them."""
    return find_spec("torch") is not None


DEVICE = "device"
PLATFORM = "platform"
# Whatever touches a pixel. All that is installed is named, also for a step that uses none of it: the others of its
# image were mostly made by the same process.
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


def made_with(device: Device | None) -> Mapping[str, str]:
    """Library -> version of those that are installed, `platform`, and `device` if there is one. Imports none of them.

    The same for all images that this process makes on the device.
    """
    if device is None:
        return _versions()
    return {**_versions(), DEVICE: _processor() if device.kind == "cpu" else device.name}


@cache
def _processor() -> str:
    """The kind of CPU, which decides its kernels; not the number of its cores, which does not."""
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
