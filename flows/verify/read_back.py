"""Reads objects back from the store, several at once, each once."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from types import TracebackType
from typing import Self

from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject

READERS = 8  # the store keeps as many connections beside those of the writers


class Fault(Enum):
    """Why an object is no use."""

    MISSING = auto()
    DAMAGED = auto()


class ReadBack:
    """Remembers the keys that were read: some 150 bytes for each. Use as a context manager."""

    def __init__(self, store: ArtefactStore) -> None:
        self._store = store
        self._seen: set[str] = set()
        self._faults: dict[str, Fault] = {}
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-verify")
        self.objects = 0
        self.bytes = 0

    def read(self, digests: Mapping[str, str]) -> dict[str, Fault]:
        """Reads those of the keys that were not read before, against their SHA-256. Returns the faults of all of them.

        Raises StoreError where the store refuses or fails: nothing can be said of its objects then.
        """
        new = [key for key in digests if key not in self._seen]
        for key, (fault, size) in zip(new, self._pool.map(lambda key: self._look(key, digests[key]), new), strict=True):
            self._seen.add(key)
            self.objects += 1
            self.bytes += size
            if fault is not None:
                self._faults[key] = fault
        return {key: self._faults[key] for key in digests if key in self._faults}

    def _look(self, key: str, sha256: str) -> tuple[Fault | None, int]:
        try:
            return None, len(self._store.get(key, sha256=sha256))
        except MissingObject:
            return Fault.MISSING, 0
        except DamagedObject:
            return Fault.DAMAGED, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
