"""rembg: cut-out networks in ONNX, from a file or by rembg's name.

rembg imports pymatting, whose functions numba compiles at that import and keeps per machine: the first start on a
machine takes most of a minute longer, for soft edges (`alpha_matting`, `clean_edges`) that few recipes use. So
pymatting is imported by the first call instead.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field
from typing_extensions import override

from configs.documents.fields import Schema


class RembgOptions(Schema):
    """Options of a model part whose engine is `rembg`."""

    network: str = Field(
        default="u2net_custom",
        description="For a source that is a file: the network whose input it expects, by rembg's name, such as "
        "isnet-general-use or birefnet-general. u2net_custom: 320 x 320, as U2-Net.",
    )
    revision: str | None = Field(default=None, description="Free text: part of the model's digest, nothing else.")
    allow_download: bool = Field(default=False, description="Let rembg fetch a source that is a name.")


def load(source: str, options: Mapping[str, Any], device: str) -> Any:
    """Return a rembg session, for `rembg.remove(session=…)`. It computes with as many threads as torch.

    Raises FileNotFoundError where neither the file nor rembg's own copy of the name exists, ValueError for a name
    that rembg lacks or that sends images to a remote service, and pydantic's ValidationError for options.
    """
    import onnxruntime
    import torch

    checked = RembgOptions.model_validate(dict(options))
    with late_pymatting():
        from rembg.sessions import sessions
    is_file = source.endswith(".onnx")
    name = checked.network if is_file else source
    kind = sessions.get(name)
    if kind is None or not kind.is_local():
        local = sorted(known for known, session in sessions.items() if session.is_local())
        raise ValueError(f"rembg runs no network named {name!r} on this machine: choose one of {', '.join(local)}")
    path = Path(source) if is_file else _existing(kind, name)
    if path is not None and not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: put the ONNX file there, or correct `source`")
    if path is None and not checked.allow_download:
        raise FileNotFoundError(
            f"rembg has no copy of {name!r} on this machine: run `rembg d {name}`, give `source` an ONNX file, "
            "or set the option allow_download: true"
        )
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = torch.get_num_threads()
    session_options.inter_op_num_threads = 1
    session_options.log_severity_level = 3
    session_class = kind if path is None else _reading(kind, path)
    return session_class(name, session_options, providers=_providers(device, onnxruntime), model_path=str(path))


def _reading(kind: Any, path: Path) -> Any:
    """Return the session class for this file: rembg itself reads only below a folder from the environment."""

    class FileSession(kind):  # type: ignore[misc]
        @classmethod
        def download_models(cls, *_args: Any, **_kwargs: Any) -> str:
            return str(path)

    return FileSession


def _existing(kind: Any, name: str) -> Path | None:
    """Return rembg's own copy of a network, a file of its name or any file in its folder, or None."""
    found = sorted(Path(kind.model_dir()).glob("*.onnx")) or sorted(Path(kind.legacy_home()).glob(f"{name}.onnx"))
    return found[0] if found else None


def _providers(device: str, onnxruntime: Any) -> list[str]:
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    available = onnxruntime.get_available_providers()
    return [provider for provider in (*wanted, "CPUExecutionProvider") if provider in available]


PACKAGE = "pymatting"

logger = logging.getLogger(__name__)


@contextmanager
def late_pymatting() -> Iterator[None]:
    """Replace what is imported from pymatting within the block by functions that import the real one when called."""
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
    """Finder of a stand-in for every module of the package."""

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

            def call(*args: Any, **kwargs: Any) -> Any:  # whatever the real one takes
                return getattr(_imported(module.__name__), name)(*args, **kwargs)

            return call

        module.__dict__["__getattr__"] = stand_in


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
