"""The models that stay on the device between shards."""

import gc
import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.catalogues.models import ModelCatalogue, ModelPart, ModelRef
from configs.failures import PixelmillError
from gpu_worker.device import telemetry
from gpu_worker.device.device import MEGABYTE, Device, held_mb, release_cached
from gpu_worker.monitor.failures import is_out_of_memory

logger = logging.getLogger(__name__)

OnLoad = Callable[[ModelRef, float], None]  # the model and the seconds its load took
Loader = Callable[[str, Any, str], Any]  # source, options, torch device -> handle


class ModelLoadError(PixelmillError):
    """A model could not be loaded. Concerns the worker, not the item that happened to need the model first."""

    def __init__(self, ref: ModelRef, message: str) -> None:
        super().__init__(message)
        self.ref = ref


@dataclass(slots=True)
class _Resident:
    handle: Any
    memory_mb: int
    users: int = 0
    used_at: float = field(default_factory=time.monotonic)


class ModelPool:
    """Loads each model once and keeps it until its room is needed. Safe to share between threads.

    `budget_mb` bounds the resident models together; the least recently used leaves first. A model in use never
    leaves, so models that are needed at the same time may exceed the budget.
    """

    def __init__(
        self, parts: ModelCatalogue, device: Device, *, budget_mb: int = 0, load_engine: Callable[[str], Loader]
    ) -> None:
        """Use all memory of the device if `budget_mb` is 0. `load_engine` returns an engine's loader by its name."""
        self._parts = parts
        self.device = device
        self._budget_mb = budget_mb or device.total_mb
        self._load_engine = load_engine
        self._residents: OrderedDict[ModelRef, _Resident] = OrderedDict()  # least recently used first
        self._measured: dict[ModelRef, int] = {}
        self._lock = threading.Lock()
        # Loads run one at a time, so that the memory of each can be measured.
        self._loading = threading.Lock()
        self.loads: Counter[ModelRef] = Counter()
        telemetry.pools.add(self)

    @contextmanager
    def use(self, ref: ModelRef, on_load: OnLoad | None = None) -> Iterator[Any]:
        """Yield the loaded model, which stays at least until the block ends. Raises ModelLoadError."""
        resident = self._acquire(ref, on_load)
        try:
            yield resident.handle
        finally:
            with self._lock:
                resident.users -= 1
                resident.used_at = time.monotonic()

    def get(self, ref: ModelRef, on_load: OnLoad | None = None) -> Any:
        """Return the loaded model, which may leave at any time. Raises ModelLoadError."""
        with self.use(ref, on_load) as handle:
            return handle

    def resident(self) -> tuple[ModelRef, ...]:
        """Return the loaded models, least recently used first."""
        with self._lock:
            return tuple(self._residents)

    def memory_by_model(self) -> dict[ModelRef, int]:
        """Return the MB of each loaded model."""
        with self._lock:
            return {ref: held.memory_mb for ref, held in self._residents.items()}

    def has_room_for(self, ref: ModelRef) -> bool:
        """Return whether the model could be loaded without unloading another."""
        needed = self.memory_mb(ref)
        with self._lock:
            return sum(held.memory_mb for held in self._residents.values()) + needed <= self._budget_mb

    def fits(self, refs: Sequence[ModelRef]) -> bool:
        """Return whether these models may all be resident at once. Models of unknown size count as fitting."""
        return sum(self.memory_mb(ref) for ref in set(refs)) <= self._budget_mb

    def memory_mb(self, ref: ModelRef) -> int:
        """Return the model's memory, MB: as described, else as measured, else the size of its files."""
        part = self._parts.part(ref)
        return part.memory_mb or self._measured.get(ref) or _size_on_disk_mb(part.source)

    def evict_idle(self, seconds: float = 0, keep: Collection[ModelRef] = ()) -> tuple[ModelRef, ...]:
        """Unload and return the models that have been idle for `seconds`, except those in `keep`."""
        limit = time.monotonic() - seconds
        with self._lock:
            idle = [
                ref
                for ref, held in self._residents.items()
                if not held.users and held.used_at <= limit and ref not in keep
            ]
            self._evict(idle)
        return tuple(idle)

    def _acquire(self, ref: ModelRef, on_load: OnLoad | None) -> _Resident:
        found = self._pin(ref)
        if found is not None:
            return found
        with self._loading:
            found = self._pin(ref)
            if found is not None:
                return found  # another thread has loaded it in the meantime
            resident, seconds = self._load(ref)
            with self._lock:
                resident.users = 1
                self._residents[ref] = resident
                self.loads[ref] += 1
                self._make_room(0)
        logger.info("loaded %s in %.1f s, %d MB", ref, seconds, resident.memory_mb)
        telemetry.model_loaded(ref, seconds)
        if on_load is not None:
            on_load(ref, seconds)
        return resident

    def _pin(self, ref: ModelRef) -> _Resident | None:
        with self._lock:
            resident = self._residents.get(ref)
            if resident is not None:
                resident.users += 1
                self._residents.move_to_end(ref)
            return resident

    def _load(self, ref: ModelRef) -> tuple[_Resident, float]:
        part = self._parts.part(ref)
        with self._lock:
            self._make_room(self.memory_mb(ref))
        before, start = held_mb(self.device), time.perf_counter()
        handle = self._load_handle(ref, part)
        seconds = time.perf_counter() - start
        # Files that are mapped into memory are resident only once they are read: their size is the floor.
        self._measured[ref] = max(held_mb(self.device) - before, _size_on_disk_mb(part.source))
        return _Resident(handle, self.memory_mb(ref)), seconds

    def _load_handle(self, ref: ModelRef, part: ModelPart) -> Any:
        options = part.options if part.revision is None else {"revision": part.revision, **part.options}
        try:
            loader = self._load_engine(part.engine)
            try:
                return loader(part.source, options, self.device.kind)
            except Exception as error:
                if not is_out_of_memory(error) or not self.evict_idle():
                    raise
            return loader(part.source, options, self.device.kind)
        except Exception as error:
            remedy = (
                "It does not fit on the device beside what is in use: choose a smaller model or a larger device."
                if is_out_of_memory(error)
                else f"Check `source` and `options` of the model {ref.name!r} and that its files are complete."
            )
            raise ModelLoadError(
                ref,
                f"cannot load model {ref} (engine {part.engine}, source {part.source}): "
                f"{type(error).__name__}: {error}. {remedy}",
            ) from error

    def _make_room(self, needed_mb: int) -> None:
        """Evict idle models until `needed_mb` more fit, if they are enough. The caller holds the lock."""
        excess = sum(held.memory_mb for held in self._residents.values()) + needed_mb - self._budget_mb
        leaving = []
        for ref, held in self._residents.items():
            if excess <= 0:
                break
            if not held.users:
                leaving.append(ref)
                excess -= held.memory_mb
        self._evict(leaving)

    def _evict(self, refs: Sequence[ModelRef]) -> None:
        for ref in refs:
            del self._residents[ref]
            logger.info("unloaded %s", ref)
        if refs:
            gc.collect()  # pipelines refer to themselves: without this their memory stays in use
            release_cached(self.device)


def _size_on_disk_mb(source: str) -> int:
    path = Path(source)
    if path.is_file():
        return path.stat().st_size // MEGABYTE
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) // MEGABYTE
    return 0
