"""A future that nobody works at until somebody wants its result."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from typing_extensions import override

_T = TypeVar("_T")


class OnDemand(Future[_T], Generic[_T]):
    """Computes in the thread that asks first; others that ask meanwhile wait for it."""

    def __init__(self, compute: Callable[[], _T]) -> None:
        super().__init__()
        self._compute: Callable[[], _T] | None = compute
        self._computing = threading.Lock()

    @override
    def result(self, timeout: float | None = None) -> _T:
        with self._computing:
            compute, self._compute = self._compute, None  # lets go of what it holds, too
            if compute is not None:
                try:
                    self.set_result(compute())
                except Exception as error:
                    self.set_exception(error)
        return super().result(timeout)
