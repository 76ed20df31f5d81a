"""What kind of failure an exception is, and how it reads: one place that looks at messages, so that no other must."""

import re
import sys
import traceback

from configs.reporting import PixelmillError
from configs.settings.privacy import without_secrets

# What allocators without an exception type of their own say: torch on CPU and MPS, onnxruntime, OpenCV, CUDA libraries.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|(?:not enough|insufficient) memory|can't allocate memory|failed to allocate memory|bad allocation"
    r"|bad_alloc|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
# After one of these the CUDA context is lost: every later call of the process fails with the same message.
_DEVICE_LOST = re.compile(
    r"device-side assert|illegal memory access|unspecified launch failure|CUDA error|GPU is lost|uncorrectable ECC",
    re.IGNORECASE,
)
_MAX_TRACEBACK = 20_000  # characters: the ledger keeps one for each failed item


class DeviceLost(PixelmillError):
    """The device fails every call from now on. The process has to end and the shard has to start again elsewhere."""


class BrokenInstallation(PixelmillError):
    """This worker's Python lacks a package: it is the worker that needs mending, not the items."""

    def __init__(self, error: ImportError) -> None:
        super().__init__(f"this worker's installation is not complete: {describe(error)}. Install Pixelmill there anew")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less work at once could have succeeded."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def is_device_lost(error: BaseException) -> bool:
    """Whether the device cannot be used by this process any more."""
    return isinstance(error, RuntimeError) and not is_out_of_memory(error) and bool(_DEVICE_LOST.search(str(error)))


def describe(error: BaseException) -> str:
    """`Type: message` on one line, without secrets."""
    message = " ".join(str(error).split())
    name = type(error).__name__
    return without_secrets(f"{name}: {message}" if message else name)


def full_traceback(error: BaseException) -> str:
    """The formatted traceback without secrets; the end of it if it is very long."""
    text = without_secrets("".join(traceback.format_exception(error)))
    return text if len(text) <= _MAX_TRACEBACK else "…" + text[-_MAX_TRACEBACK:]
