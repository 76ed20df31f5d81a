"""The catalogue: names of steps and engines and the dotted paths they are imported from, only when used.

Besides `configs/data/catalogue.yaml`, the files of the setting `catalogue_path` are read: a deployment can add its own.
"""

import importlib
import re
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from configs.documents.problems import InvalidInput, Problem, child, describe, did_you_mean
from configs.documents.yaml_source import Document, read_yaml
from configs.failures import PixelmillError
from configs.settings.settings import load_settings

Kind = Literal["steps", "engines"]
KINDS: tuple[Kind, ...] = ("steps", "engines")
BUILT_IN = Path(__file__).parents[1] / "data" / "catalogue.yaml"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class UnknownName(PixelmillError, LookupError):
    """The catalogue has no such entry. The message names the nearest."""


class BrokenEntry(PixelmillError):
    """The entry is there, but what it names cannot be imported."""


class Catalogue:
    """Names of each kind with their dotted paths (`package.module:Name`)."""

    def __init__(self) -> None:
        self._targets: dict[Kind, dict[str, tuple[str, str]]] = {kind: {} for kind in KINDS}  # name -> target, file
        self._files: set[Path] = set()
        self._lock = threading.Lock()

    def add(self, path: Path) -> None:
        """Add a catalogue file, unless it was added before.

        Raises InvalidInput for a name that another file has, or any other mistake; then nothing was added.
        """
        path = path.expanduser().absolute()
        with self._lock:
            if path in self._files:
                return
            document = read_yaml(path)
            entries, problems = _entries(document)
            for kind, name, _ in entries:
                if name in self._targets[kind]:
                    message = f"`{name}` is taken by {self._targets[kind][name][1]}: choose another name"
                    problems.append(Problem(child(kind, name), message))
            if problems:
                raise InvalidInput(document.locate(problems))
            for kind, name, target in entries:
                self._targets[kind][name] = (target, str(path))
            self._files.add(path)

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Return the names of a kind, in the order of the files."""
        return tuple(self._targets[kind])

    def load(self, kind: Kind, name: str) -> Any:
        """Import the entry. Raises UnknownName or BrokenEntry."""
        if name not in self._targets[kind]:
            raise UnknownName(f"unknown {kind[:-1]} `{name}`{did_you_mean(name, self._targets[kind])}")
        target, file = self._targets[kind][name]
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:  # the module is a user's code: whatever it raises is a broken entry
            reason = f"{type(error).__name__}: {error}"
            raise BrokenEntry(f"{kind[:-1]} `{name}` ({target} in {file}) cannot be imported: {reason}") from error


def _entries(document: Document) -> tuple[list[tuple[Kind, str, str]], list[Problem]]:
    entries: list[tuple[Kind, str, str]] = []
    problems: list[Problem] = list(document.problems)
    for key in document.data:
        if key not in KINDS:
            problems.append(Problem(key, f"unknown field{did_you_mean(key, KINDS)}"))
    for kind in KINDS:
        section = document.data.get(kind) or {}
        if not isinstance(section, Mapping):
            problems.append(Problem(kind, f"must be names with dotted paths, not {describe(section)}"))
            continue
        for name, target in section.items():
            if not _NAME.fullmatch(name):
                problems.append(Problem(child(kind, name), "must be lower-case letters, digits and _, at most 40"))
            if not isinstance(target, str) or not _TARGET.fullmatch(target):
                message = f"must have the form package.module:Name, not {describe(target)}"
                problems.append(Problem(child(kind, name), message))
            else:
                entries.append((kind, name, target))
    return entries, problems


@cache
def current() -> Catalogue:
    """Return the process's catalogue: the built-in names and those of the setting `catalogue_path`."""
    catalogue = Catalogue()
    catalogue.add(BUILT_IN)
    for path in load_settings().catalogue_path:
        catalogue.add(path)
    return catalogue


def extend(paths: Iterable[Path]) -> None:
    """Add files to the process's catalogue (see Catalogue.add)."""
    for path in paths:
        current().add(path)


def load_step(name: str) -> type:
    """Return the class of a step. Raises UnknownName or BrokenEntry."""
    value = current().load("steps", name)
    if not isinstance(value, type):
        raise BrokenEntry(f"step `{name}` is not a class")
    return value


def load_engine(name: str) -> Any:
    """Return an engine, whose `load(source, options, device)` loads one role. Raises UnknownName or BrokenEntry."""
    return current().load("engines", name)


def names(kind: Kind) -> tuple[str, ...]:
    """Return the names of a kind, built-in first."""
    return current().names(kind)
