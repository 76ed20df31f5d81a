"""Pictures on disk, so that a second run need not make them again."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from benchmarks.gates.picture import Asked, Origin, Picture, Stage

VERSION = 1  # raise it when the same request gives another picture


def default_folder() -> Path:
    """The folder in the user's cache."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "pixelmill" / "gates-bench"


@dataclass(frozen=True)
class Store:
    """Images by the hash of what was asked for."""

    folder: Path

    def pictures(
        self,
        wanted: Sequence[Asked],
        origin: Origin,
        make: Callable[[Sequence[Asked]], list[Picture]],
    ) -> list[Picture]:
        """Return cut-outs; missing ones are made, in parts, and kept."""
        found = [self._read(asked, origin) for asked in wanted]
        missing = [asked for asked, picture in zip(wanted, found, strict=True) if picture is None]
        made: dict[Asked, Picture] = {}
        for start in range(0, len(missing), 64):
            for picture in make(missing[start : start + 64]):
                made[picture.asked] = picture
                self._write(_key(picture.asked, origin), {"base": picture.base, "cutout": picture.cutout})
        return [picture or made[asked] for asked, picture in zip(wanted, found, strict=True)]

    def enlarged(self, picture: Picture, make: Callable[[Picture], Picture]) -> Picture:
        """The picture with `large`, kept by the pixels of its cut-out."""
        key = hashlib.sha256(f"large {VERSION}".encode() + picture.cutout.tobytes()).hexdigest()
        images = self._load(key, ("large",))
        if images is not None:
            stage = Stage("large", images["large"], picture.cutout)
            return Picture(picture.asked, picture.origin, (picture.stages[0], stage))
        made = make(picture)
        self._write(key, {"large": made.final})
        return made

    def _read(self, asked: Asked, origin: Origin) -> Picture | None:
        images = self._load(_key(asked, origin), ("base", "cutout"))
        if images is None:
            return None
        return Picture(asked, origin, (Stage("cutout", images["cutout"], images["base"]),))

    def _load(self, key: str, names: Sequence[str]) -> dict[str, Image.Image] | None:
        images: dict[str, Image.Image] = {}
        for name in names:
            try:
                data = (self.folder / key[:2] / f"{key}-{name}.png").read_bytes()
            except FileNotFoundError:
                return None
            images[name] = Image.open(io.BytesIO(data))
            images[name].load()  # here, where a broken file belongs to this request
        return images

    def _write(self, key: str, images: dict[str, Image.Image]) -> None:
        folder = self.folder / key[:2]
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            path = folder / f"{key}-{name}.png"
            partial = path.with_suffix(f".{os.getpid()}")
            image.save(partial, "PNG", compress_level=1)
            partial.replace(path)


def _key(asked: Asked, origin: Origin) -> str:
    return hashlib.sha256(json.dumps([VERSION, origin, asdict(asked)]).encode()).hexdigest()
