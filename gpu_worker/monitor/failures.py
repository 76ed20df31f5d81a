"""Classification and description of exceptions; the only module that looks at their messages."""

import re
import sys
import traceback

from configs.failures import PixelmillError
from configs.settings.privacy import without_secrets

# Messages of allocators without an exception type: torch on CPU and MPS, onnxruntime, OpenCV, CUDA libraries.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|(?:not enough|insufficient) memory|can't allocate memory|failed to allocate memory|bad allocation"
    r"|bad_alloc|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
# After one of these the CUDA context is lost: every later call in the process fails with the same message.
_DEVICE_LOST = re.compile(
    r"device-side assert|illegal memory access|unspecified launch failure|CUDA error|GPU is lost|uncorrectable ECC",
    re.IGNORECASE,
)
_MAX_TRACEBACK = 20_000  # characters: the ledger keeps one for each failed item


class DeviceLost(PixelmillError):
    """The device fails every further call. The process has to end, and the shard has to start again elsewhere."""


class BrokenInstallation(PixelmillError):
    """This worker's Python lacks a package: the worker needs repair, not the items."""

    def __init__(self, error: ImportError) -> None:
        super().__init__(f"this worker's installation is incomplete: {describe(error)}. Reinstall Pixelmill there")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether less work at once could have succeeded."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def is_device_lost(error: BaseException) -> bool:
    """Return whether this process can no longer use the device."""
    return isinstance(error, RuntimeError) and not is_out_of_memory(error) and bool(_DEVICE_LOST.search(str(error)))


def describe(error: BaseException) -> str:
    """Return `Type: message` on one line, without secrets."""
    message = " ".join(str(error).split())
    name = type(error).__name__
    return without_secrets(f"{name}: {message}" if message else name)


def full_traceback(error: BaseException) -> str:
    """Return the formatted traceback without secrets, or its end if it is very long."""
    text = without_secrets("".join(traceback.format_exception(error)))
    return text if len(text) <= _MAX_TRACEBACK else "…" + text[-_MAX_TRACEBACK:]
