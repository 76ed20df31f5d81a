"""Gates by name: conditions that a step's image must meet, in `configs/data/gates/` and the paths of `gates_path`."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from configs.conditions import Condition
from configs.documents.fields import Schema, Text, not_blank
from configs.documents.problems import InvalidInput, Problem, check, child, did_you_mean
from configs.documents.yaml_source import read_yaml
from configs.failures import PixelmillError
from configs.settings.settings import Settings

BUILT_IN = Path(__file__).parents[1] / "data" / "gates"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class UnknownGate(PixelmillError, LookupError):
    """No file has a gate of this name. The message names the nearest."""


@dataclass(frozen=True, slots=True)
class NamedGate:
    """A named condition. `this` in `require` is the step that lists the gate: `facts.this.sharpness`."""

    name: str
    require: str  # a condition (configs.conditions), already parsed once without a mistake
    because: str  # a few words for an image that fails it
    description: str


def find_gate(name: str, settings: Settings) -> NamedGate:
    """Return the gate of this name. Raises UnknownGate, and InvalidInput like read_gates."""
    gates = read_gates(settings)
    if name not in gates:
        raise UnknownGate(f"unknown gate `{name}`{did_you_mean(name, gates)}")
    return gates[name]


def _parsed(text: str) -> str:
    Condition.parse(text)  # a ConditionError is a ValueError: it becomes a problem of this field
    return " ".join(text.split())


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must be lower-case letters, digits and _, at most 40, and begin with a letter")
    return name


class _Entry(Schema):
    """A gate as written in a file."""

    require: Annotated[str, AfterValidator(_parsed)] = Field(description="The condition that the image must meet.")
    because: Annotated[Text, AfterValidator(not_blank), Field(max_length=80)] = Field(
        description="What is wrong with an image that does not, in a few words."
    )
    description: Text = Field(default="", description="For people.")


class _GateFile(Schema):
    """A file of gates."""

    gates: dict[Annotated[str, AfterValidator(_named)], _Entry] = Field(min_length=1)


def read_gates(settings: Settings) -> Mapping[str, NamedGate]:
    """Return all gates by name. Raises InvalidInput with every mistake of every file of gates."""
    sources = (*(path.expanduser().absolute() for path in settings.gates_path), BUILT_IN)
    # A missing file stays: reading it reports that.
    files = (sorted(source.glob("*.yaml")) if source.is_dir() else [source] for source in sources)
    return _read_all(tuple(tuple((path, *_stamp(path)) for path in some) for some in files))


def _stamp(path: Path) -> tuple[int, int]:
    """Return modification time and size, or zeros for a missing file."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@cache
def _read_all(sources: tuple[tuple[tuple[Path, int, int], ...], ...]) -> Mapping[str, NamedGate]:
    """Return gates by name: the first source with a name wins; within one source a name may occur only once."""
    gates: dict[str, NamedGate] = {}
    problems: list[Problem] = []
    for source in sources:
        found: dict[str, tuple[NamedGate, Path]] = {}
        for path, _, _ in source:
            try:
                document = read_yaml(path)
            except InvalidInput as error:
                problems += error.problems
                continue
            file, wrong = check(_GateFile, document.data)
            own = [NamedGate(name, **dict(entry)) for name, entry in file.gates.items()] if file else []
            taken = [
                Problem(child("gates", gate.name), f"`{gate.name}` is taken by {found[gate.name][1]}: rename one")
                for gate in own
                if gate.name in found
            ]
            problems += document.locate([*document.problems, *wrong, *taken])
            found = {gate.name: (gate, path) for gate in own} | found
        gates = {name: gate for name, (gate, _) in found.items()} | gates
    if problems:
        raise InvalidInput(problems)
    return gates


_WORD = re.compile(r"[a-z][a-z0-9_]*")


def write_out_gates(recipe: Any, find: Callable[[str], NamedGate]) -> list[Problem]:
    """Replace each name in the `require` lists of a recipe as read from its file by the gate's condition and reason.

    A job's outcome must not change with a file of gates. `find` raises UnknownGate, or InvalidInput where a file of
    gates has mistakes. Returns the problems found.
    """
    problems: list[Problem] = []
    for path, checks in _requirements(recipe, ""):
        for index, one in enumerate(checks):
            if not isinstance(one, str) or not _WORD.fullmatch(one):
                continue
            try:
                gate = find(one)
            except UnknownGate as error:
                problems.append(Problem(f"{path}[{index}]", str(error.args[0])))
                checks[index] = {"that": "true", "gate": one}
            except InvalidInput as error:
                return list(error.problems)
            else:
                checks[index] = {"that": gate.require, "because": gate.because, "gate": gate.name}
    return problems


def _requirements(value: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "require" and isinstance(inner, list):
                yield child(path, name), inner
            else:
                yield from _requirements(inner, child(path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _requirements(inner, child(path, index))
