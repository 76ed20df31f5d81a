"""The models that recipes can name: one YAML file each, in `configs/data/models/` and the folders of `models_path`."""

import hashlib
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from configs.catalogues import catalogue
from configs.documents.fields import Schema
from configs.documents.problems import InvalidInput, Problem, check, did_you_mean
from configs.documents.yaml_source import read_yaml
from configs.failures import PixelmillError
from configs.settings.privacy import private_folder
from configs.settings.settings import Settings


class DigestCache:
    """Digests of files, kept in one JSON file. Safe between threads; processes may overwrite each other's additions."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, list[object]] | None = None

    def digest(self, source: Path) -> str:
        """Return the SHA-256 of a file, or of the sorted relative paths and digests of a folder's files.

        Names that begin with a dot are left out. Raises OSError, also for a folder without files.
        """
        with self._lock:
            before = dict(self._read())
            digest = self._file(source) if source.is_file() else self._folder(source)
            if self._known != before:
                self._write()
            return digest

    def _folder(self, folder: Path) -> str:
        lines = [f"{relative}\0{self._file(path)}\n" for relative, path in _files(folder)]
        if not lines:
            raise FileNotFoundError(2, "holds no files", str(folder))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _file(self, path: Path) -> str:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        known = self._read().get(str(path))
        if isinstance(known, list) and known[:2] == stamp and isinstance(known[-1], str) and len(known[-1]) == 64:
            return known[-1]
        digest = _sha256(path)
        self._read()[str(path)] = [*stamp, digest]
        return digest

    def _read(self) -> dict[str, list[object]]:
        if self._known is None:
            try:
                known = json.loads(self._path.read_bytes())
            except (OSError, ValueError):
                known = {}  # only a cache: what cannot be read is computed again
            self._known = known if isinstance(known, dict) else {}
        return self._known

    def _write(self) -> None:
        """Replace the file in one step. Ignores a home that cannot be written, which only costs time later."""
        temporary = None
        try:
            private_folder(self._path.parent)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".digests-")
            with os.fdopen(handle, "w") as file:
                json.dump(self._known, file)
            Path(temporary).replace(self._path)
        except OSError:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[tuple[str, Path]]:
    found: list[Path] = []
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    return sorted((path.relative_to(folder).as_posix(), path) for path in found)


# What a part of a model does. diffusion paints, cutout finds the subject, upscaler enlarges; the others judge:
# classifier names what it sees, clip compares an image with words, aesthetic rates what clip saw, nsfw finds what
# is not safe for work, text reads.
Role = Literal["diffusion", "cutout", "upscaler", "classifier", "clip", "aesthetic", "nsfw", "text"]


class ModelRef(NamedTuple):
    """The part of a model that a step needs; the key of the model pool."""

    name: str
    role: Role

    def __str__(self) -> str:
        return f"{self.name}/{self.role}"


class ModelPart(Schema):
    """Weights for one role and the engine that loads them."""

    engine: str = Field(description="An engine of the catalogue.")
    source: str = Field(description="File, folder, or a name of weights in the engine's library.")
    revision: str | None = Field(default=None, description="Pins a source that is not on disk.")
    options: dict[str, Any] = Field(default_factory=dict, description="Checked by the engine.")
    memory_mb: int = Field(default=0, ge=0, description="Estimated device memory once loaded, MB; 0: measure.")


class ModelSpec(Schema):
    """A named model: one file of `configs/data/models/`. A name may serve several roles."""

    name: str
    description: str = ""
    license: str = ""
    parts: dict[Role, ModelPart] = Field(min_length=1)


BUILT_IN = Path(__file__).parents[1] / "data" / "models"


class UnknownModel(PixelmillError, LookupError):
    """No file describes this model, or it has no such part. The message names the nearest."""


class ModelCatalogue:
    """Model files are read when first asked for. Of two files with one name, the first folder's counts."""

    def __init__(self, settings: Settings) -> None:
        self._folders = (*(path.expanduser() for path in settings.models_path), BUILT_IN)
        self._digests = DigestCache(settings.home.expanduser() / "digests.json")
        self._specs: dict[str, ModelSpec] = {}

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted({path.stem for folder in self._folders for path in folder.glob("*.yaml")}))

    def get(self, name: str) -> ModelSpec:
        """Return the model; local sources are absolute paths. Raises UnknownModel, or InvalidInput for a bad file."""
        if name not in self._specs:
            known = self.names()
            if name not in known:
                raise UnknownModel(f"unknown model `{name}`{did_you_mean(name, known)}")
            paths = (folder / f"{name}.yaml" for folder in self._folders)
            self._specs[name] = _read(next(path for path in paths if path.is_file()))
        return self._specs[name]

    def part(self, ref: ModelRef) -> ModelPart:
        """Return the part of a model for a role. Raises like get, and UnknownModel when it has no such part."""
        spec = self.get(ref.name)
        if ref.role not in spec.parts:
            has = ", ".join(spec.parts)
            raise UnknownModel(f"the model `{ref.name}` has no {ref.role} part (it has: {has}); choose another model")
        return spec.parts[ref.role]

    def digest(self, ref: ModelRef) -> str:
        """Return the SHA-256 over what decides an image: files (or name and revision), engine and options.

        Raises like part, and OSError when a local source cannot be read.
        """
        part = self.part(ref)
        local = local_source(part)
        weights = self._digests.digest(local) if local else f"{part.source}@{part.revision or ''}"
        canonical = json.dumps([weights, part.engine, part.options], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def available(self, ref: ModelRef) -> str | None:
        """Return why the part cannot be used on this machine, or None. Does not touch the network."""
        try:
            part = self.part(ref)
        except (UnknownModel, InvalidInput) as error:
            return str(error)
        if part.engine not in catalogue.names("engines"):
            return f"unknown engine `{part.engine}`{did_you_mean(part.engine, catalogue.names('engines'))}"
        local = local_source(part)
        if local and not local.exists():
            return f"its files are missing: {local}"
        return None


def local_source(part: ModelPart) -> Path | None:
    """Return the path of a source on disk, or None if it is a name in the engine's library."""
    path = Path(part.source)
    return path if path.is_absolute() else None


def _read(path: Path) -> ModelSpec:
    document = read_yaml(path)
    spec, problems = check(ModelSpec, document.data)
    problems += document.problems
    if spec is not None and spec.name != path.stem:
        problems.append(Problem("name", f"must be `{path.stem}`, like the file"))
    if spec is None or problems:
        raise InvalidInput(document.locate(problems))
    parts = {role: part.model_copy(update={"source": _resolve(part, path)}) for role, part in spec.parts.items()}
    return spec.model_copy(update={"parts": parts})


def _resolve(part: ModelPart, file: Path) -> str:
    """Return an absolute path for a source that begins like one (`.`, `/`, `~`) or exists beside its file."""
    path = file.absolute().parent / Path(part.source).expanduser()
    if part.source.startswith((".", "/", "~")) or path.exists():
        return str(path.resolve())
    return part.source
