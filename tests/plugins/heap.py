"""Garbage collection that does not visit, thousands of times, what pytest and the libraries hold."""

import gc
import sys


class Heap:
    """Takes what pytest and the libraries hold out of the collector's sight: it would visit them thousands of times."""

    def __init__(self) -> None:
        self._modules = 0

    def freeze(self) -> None:
        gc.collect()
        gc.freeze()
        self._modules = len(sys.modules)

    @property
    def has_grown(self) -> bool:
        return len(sys.modules) > self._modules + 200


_heap = Heap()


def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    _heap.freeze()


def pytest_runtest_logfinish() -> None:
    if _heap.has_grown:
        _heap.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # or what is freed at the end alone is reported as leaked by libraries that count
