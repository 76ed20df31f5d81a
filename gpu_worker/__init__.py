"""The warm worker: device, resident models, micro-batches, and compute overlapped with encode and upload."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_worker.device.runtime import WorkerRuntime, get_runtime
    from gpu_worker.process.prefect_worker import PixelmillWorker
    from gpu_worker.process.worker_process import start_worker
    from gpu_worker.shard.shard_run import ShardRun

_HOMES = {
    "PixelmillWorker": "gpu_worker.process.prefect_worker",
    "ShardRun": "gpu_worker.shard.shard_run",
    "WorkerRuntime": "gpu_worker.device.runtime",
    "get_runtime": "gpu_worker.device.runtime",
    "start_worker": "gpu_worker.process.worker_process",
}
__all__ = ["PixelmillWorker", "ShardRun", "WorkerRuntime", "get_runtime", "start_worker"]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used: `import gpu_worker` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
