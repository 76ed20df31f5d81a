"""The models that recipes can name: one YAML file each, in `configs/data/models/` and the folders of `models_path`."""

import hashlib
import json
from pathlib import Path

from configs.catalogues import catalogue
from configs.catalogues.digests import DigestCache
from configs.catalogues.model_spec import ModelPart, ModelRef, ModelSpec
from configs.documents.problems import InvalidInput, Problem, did_you_mean
from configs.documents.validation import check
from configs.documents.yaml_source import parse_yaml
from configs.reporting import PixelmillError
from configs.settings.settings import Settings

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
        """Sorted."""
        return tuple(sorted({path.stem for folder in self._folders for path in folder.glob("*.yaml")}))

    def get(self, name: str) -> ModelSpec:
        """The model; local sources are absolute paths. Raises UnknownModel, or InvalidInput when its file is wrong."""
        if name not in self._specs:
            known = self.names()
            if name not in known:
                raise UnknownModel(f"unknown model `{name}`{did_you_mean(name, known)}")
            paths = (folder / f"{name}.yaml" for folder in self._folders)
            self._specs[name] = _read(next(path for path in paths if path.is_file()))
        return self._specs[name]

    def part(self, ref: ModelRef) -> ModelPart:
        """The part of a model that serves a role. Raises like get, and UnknownModel when no part serves it."""
        spec = self.get(ref.name)
        if ref.role not in spec.parts:
            has = ", ".join(spec.parts)
            raise UnknownModel(f"the model `{ref.name}` has no {ref.role} part (it has: {has}); choose another model")
        return spec.parts[ref.role]

    def digest(self, ref: ModelRef) -> str:
        """SHA-256 over all of the part that decides an image: files (or name and revision), engine and options.

        Raises like part, and OSError when a local source cannot be read.
        """
        part = self.part(ref)
        local = local_source(part)
        weights = self._digests.digest(local) if local else f"{part.source}@{part.revision or ''}"
        canonical = json.dumps([weights, part.engine, part.options], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def available(self, ref: ModelRef) -> str | None:
        """Why the part cannot be used on this machine, or None. Does not touch the network."""
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
    """The path of a source on disk; None for a name that the engine's library knows."""
    path = Path(part.source)
    return path if path.is_absolute() else None


def _read(path: Path) -> ModelSpec:
    try:
        document = parse_yaml(path.read_bytes(), str(path))
    except OSError as error:
        raise InvalidInput([Problem("", f"cannot be read: {error.strerror}", str(path))]) from None
    spec, problems = check(ModelSpec, document.data)
    problems += document.problems
    if spec is not None and spec.name != path.stem:
        problems.append(Problem("name", f"must be `{path.stem}`, like the file"))
    if spec is None or problems:
        raise InvalidInput(document.locate(problems))
    parts = {role: part.model_copy(update={"source": _resolve(part, path)}) for role, part in spec.parts.items()}
    return spec.model_copy(update={"parts": parts})


def _resolve(part: ModelPart, file: Path) -> str:
    """A source is a path when it begins like one (`.`, `/`, `~`) or names something beside its file."""
    path = file.absolute().parent / Path(part.source).expanduser()
    if part.source.startswith((".", "/", "~")) or path.exists():
        return str(path.resolve())
    return part.source
