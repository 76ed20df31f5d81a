"""Classification and description of exceptions; the only module that looks at their messages."""

import dis
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
    """Return `Type: message` on one line, without secrets; of an exception of Pixelmill's own the message alone."""
    message = " ".join(str(error).split())
    if message and isinstance(error, PixelmillError):
        return without_secrets(message)
    name = type(error).__name__
    return without_secrets(f"{name}: {message}" if message else name)


def explain(error: BaseException, image: str | None = None) -> str:
    """Return why an item failed, for its owner: a message that a step meant for people, or what else went wrong.

    `image` is the step's image in words. To what a library raises, such as a division by zero, the library, the
    image and what can be changed are added.
    """
    told = describe(error)
    library = None if isinstance(error, PixelmillError) else _raising_library(error)
    if library is None:
        return told
    where = f"{f' with {image}' if image else ''}{f' (in {library})' if library else ''}"
    advice = "Another size (a `resize` before it), other parameters of the step or another file of the image may help"
    return f"the step cannot work{where}: {told}. {advice}"


_LIBRARY = re.compile(r"[/\\](?:site|dist)-packages[/\\](\w+)")


def _raising_library(error: BaseException) -> str | None:
    """Return the library that raised the exception, "" for one without a name, or None for a `raise` of a step."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return None
    if named := _LIBRARY.search(trace.tb_frame.f_code.co_filename):
        return named[1]
    code = trace.tb_frame.f_code.co_code
    return None if dis.opname[code[trace.tb_lasti]] == "RAISE_VARARGS" else ""


def full_traceback(error: BaseException) -> str:
    """Return the formatted traceback without secrets, or its end if it is very long."""
    text = without_secrets("".join(traceback.format_exception(error)))
    return text if len(text) <= _MAX_TRACEBACK else "…" + text[-_MAX_TRACEBACK:]
