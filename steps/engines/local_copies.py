"""Weights by a name: whether the library of their engine has a copy on this machine. Imports and fetches nothing."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_HUB_ENGINES = frozenset({"diffusers", "clip", "image_classifier"})


def missing_copy(engine: str, source: str) -> str | None:
    """Return where no copy of these weights was found, or None if there is one, or for engines of other packages.

    `source` is a name, not a path.
    """
    if engine in _HUB_ENGINES:
        folder = _hub() / f"models--{source.replace('/', '--')}" / "snapshots"
        return None if any(folder.glob("*/*")) else f"not in the Hugging Face cache {_hub()}"
    if engine == "rembg":
        homes = list(_rembg_homes())
        found = any(any(home.glob(f"models/{source}/*.onnx")) or (home / f"{source}.onnx").is_file() for home in homes)
        return None if found else f"not in rembg's folder {homes[0]}: run `rembg d {source}`"
    if engine == "rapidocr" and find_spec("rapidocr") is None:
        return "needs pixelmill[text]"
    return None


def _hub() -> Path:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _rembg_homes() -> Iterator[Path]:
    """Yield the folders in which rembg looks, the present one first."""
    data = os.environ.get("XDG_DATA_HOME")
    if own := os.environ.get("U2NET_HOME"):
        yield Path(own).expanduser()
        return
    yield Path(os.environ.get("REMBG_HOME") or (Path(data) / "rembg" if data else "~/.rembg")).expanduser()
    yield Path(data or "~", ".u2net").expanduser()
