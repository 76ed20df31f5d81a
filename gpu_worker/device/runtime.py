"""The state that a worker process keeps between shards: its device and its loaded models."""

import os
import socket
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from typing import Any

from configs.catalogues.catalogue import load_engine
from configs.catalogues.models import ModelCatalogue, ModelRef
from configs.settings.settings import Settings
from gpu_worker.device.device import Device, choose_device, made_with
from gpu_worker.device.model_pool import ModelLoadError, ModelPool, OnLoad
from steps.contract import MemoryFallback, Step, StepContext
from storage.ledger.ledger import Ledger


class WorkerRuntime:
    """Device, models and name of this process. Device and models are touched on first use only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.catalogue = ModelCatalogue(settings)
        self._checked: set[tuple[ModelRef, str]] = set()  # models with their digests
        self.name = f"{socket.gethostname()}:{os.getpid()}"

        import cv2

        cv2.setNumThreads(1)  # images are measured in several threads, while the device may need the cores

    @cached_property
    def device(self) -> Device:
        """The device of the settings. Raises DeviceUnavailable."""
        return choose_device(self._settings.device)

    @cached_property
    def pool(self) -> ModelPool:
        return ModelPool(self.catalogue, self.device, budget_mb=self._settings.vram_budget_mb, load_engine=load_engine)

    @contextmanager
    def context(self, on_load: OnLoad | None = None) -> Iterator[StepContext]:
        """Yield a step's access to the worker; the models that it takes stay until the block ends."""
        with ExitStack() as stack:
            yield _Context(self, stack, on_load)

    def made_with(self, step: Step) -> Mapping[str, str]:
        """Return the versions that make the step's images, and the device if the step computes on it."""
        return made_with(self.device if step.model_refs() else None)

    def fits(self, refs: set[ModelRef]) -> bool:
        """Return whether these models may all be resident at once."""
        return not refs or self.pool.fits(tuple(refs))

    def free_memory(self) -> bool:
        """Unload the models that are not in use; return whether there were any."""
        return bool(self.pool.evict_idle())

    def evict_idle(self, seconds: float, keep: Collection[ModelRef] = ()) -> tuple[ModelRef, ...]:
        """Unload and return the models that have been idle for `seconds`, except those in `keep`."""
        return self.pool.evict_idle(seconds, keep) if self._has_pool else ()

    def refs(self, names: Iterable[str]) -> tuple[ModelRef, ...]:
        """Return all parts of these models. Raises UnknownModel or InvalidInput."""
        return tuple(ModelRef(name, role) for name in names for role in self.catalogue.get(name).parts)

    def resident(self) -> tuple[ModelRef, ...]:
        """Return the loaded models."""
        return self.pool.resident() if self._has_pool else ()

    def has_room_for(self, ref: ModelRef) -> bool:
        """Return whether the model could be loaded without unloading another. Raises as `refs` does."""
        return self.pool.has_room_for(ref)

    def load(self, ref: ModelRef) -> None:
        """Load a model without a job, and record it. Raises ModelLoadError and the ledger's errors."""
        self.pool.get(ref, self._record_load)

    @property
    def _has_pool(self) -> bool:
        return "pool" in self.__dict__  # making one would choose the device

    def _record_load(self, ref: ModelRef, seconds: float) -> None:
        with closing(Ledger(self._settings.resolved_ledger_url)) as ledger:
            ledger.runs.record_model_load(None, None, str(ref), self.name, seconds)

    def check_models(self, refs: Iterable[ModelRef], digests: Mapping[str, str]) -> None:
        """Raise ModelLoadError if this worker has other weights than the job was planned with.

        Its images would be stored under the fingerprints of those weights.
        """
        for ref in refs:
            planned = digests[str(ref)]
            if (ref, planned) in self._checked:
                continue
            if self.catalogue.digest(ref) != planned:
                raise ModelLoadError(
                    ref,
                    f"this worker's files or options of model {ref} are not those that the job was planned with: bring "
                    "the same version of the model to every worker, or start the job again to use this one.",
                )
            self._checked.add((ref, planned))


class _Context:
    """A StepContext whose models are pinned until its stack is closed."""

    def __init__(self, runtime: WorkerRuntime, stack: ExitStack, on_load: OnLoad | None) -> None:
        self._runtime, self._stack, self._on_load = runtime, stack, on_load
        self._handles: dict[ModelRef, Any] = {}

    @property
    def device(self) -> str:
        return self._runtime.device.kind

    @property
    def fallback(self) -> MemoryFallback:
        return MemoryFallback.NONE

    def model(self, ref: ModelRef) -> Any:
        if ref not in self._handles:
            self._handles[ref] = self._stack.enter_context(self._runtime.pool.use(ref, self._on_load))
        return self._handles[ref]


_runtimes: dict[str, WorkerRuntime] = {}
_lock = threading.Lock()


def get_runtime(settings: Settings) -> WorkerRuntime:
    """Return this process's runtime, whose models stay resident between shards with equal settings."""
    decisive = settings.model_dump_json(include={"device", "vram_budget_mb", "models_path"})
    with _lock:
        if decisive not in _runtimes:
            _runtimes[decisive] = WorkerRuntime(settings)
        return _runtimes[decisive]
