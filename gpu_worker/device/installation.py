"""The installation that this process runs in: its versions, and whether it can compute images."""

import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from gpu_worker.device.device import Device

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
