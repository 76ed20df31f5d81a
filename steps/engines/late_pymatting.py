"""pymatting as rembg sees it: imported by the first call instead of by rembg.

rembg imports pymatting, whose functions numba compiles at that import and keeps per machine: the first start on a
machine takes most of a minute longer, for soft edges (`alpha_matting`, `clean_edges`) that few recipes ask for.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from typing_extensions import override

PACKAGE = "pymatting"

logger = logging.getLogger(__name__)


@contextmanager
def late_pymatting() -> Iterator[None]:
    """Whatever is imported from pymatting within it is a function that imports the real one when it is called."""
    if PACKAGE in sys.modules:
        yield
        return
    stand_ins = _StandIns()
    sys.meta_path.insert(0, stand_ins)
    try:
        yield
    finally:
        sys.meta_path.remove(stand_ins)
        for name in [name for name in sys.modules if _is_of_package(name)]:
            del sys.modules[name]


def _is_of_package(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


class _StandIns(MetaPathFinder, Loader):
    """Finds a stand-in for every module of the package."""

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if _is_of_package(fullname) else None

    @override
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None  # an ordinary one

    @override
    def exec_module(self, module: ModuleType) -> None:
        def stand_in(name: str) -> Callable[..., Any]:
            if name.startswith("__"):
                raise AttributeError(name)
            return _called_late(module.__name__, name)

        module.__dict__["__getattr__"] = stand_in


def _called_late(module: str, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:  # whatever the real one takes
        return getattr(_imported(module), name)(*args, **kwargs)

    return call


def _imported(module: str) -> ModuleType:
    if PACKAGE in sys.modules:
        return import_module(module)
    import torch

    logger.info("importing pymatting for soft edges; numba compiles it the first time on a machine: about a minute")
    # numba sets the number of OpenMP threads of the whole process, and so torch's.
    threads = torch.get_num_threads()
    try:
        return import_module(module)
    finally:
        torch.set_num_threads(threads)
