"""What is set otherwise in a recipe by lines of `PLACE=VALUE`: parameters, conditions and gates."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from configs.catalogues.gates import NamedGate, UnknownGate
from configs.documents.problems import InvalidInput, Problem, check, child, did_you_mean
from configs.documents.yaml_source import parse_yaml
from configs.recipe.source import Overrides

DISTINCT = "distinct"
HOW = (
    "write it as STEP.PARAMETER=VALUE, such as base.guidance=4.0, or as STEP.require=CONDITION, such as "
    "base.require=facts.this.contrast >= 0.2"
)
_OF_RECIPE = ("require", "when", "on_fail", "facts")  # fields of a step, of which a job has no say
_ONE_CHECK = re.compile(r"require(?:\[([0-9]{1,4})\]|\.([a-z][a-z0-9_]*))")
_GATE_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One line of what is changed. `label` is how its origin is called, such as `--set`."""

    text: str
    label: str
    place: str  # `base.guidance`
    value: Any

    def problem(self, message: str) -> Problem:
        return Problem(f"{self.label} {self.text}", message)


@dataclass(frozen=True, slots=True)
class Changes:
    """What the lines say: what a job could set itself, and what else is to be another in the recipe."""

    lines: tuple[ChangeLine, ...] = ()
    overrides: Overrides = field(default_factory=Overrides)

    def line_of(self, place: str) -> ChangeLine | None:
        """The last line that set this place (`base`: any parameter of it)."""
        return next((line for line in reversed(self.lines) if f"{line.place}.".startswith(f"{place}.")), None)


def read_changes(texts: Sequence[str], label: str) -> tuple[Changes, list[Problem]]:
    """The lines, their values read as YAML; and what is wrong with the others."""
    lines: list[ChangeLine] = []
    problems: list[Problem] = []
    for text in texts:
        place, equals, value = text.partition("=")
        place = place.strip()
        step, _, name = place.partition(".")
        if not equals or (place != DISTINCT and not (step and name)):
            problems.append(Problem(f"{label} {text}", HOW))
            continue
        try:
            document = parse_yaml(f"value: {value.strip()}".encode(), "")
        except InvalidInput as error:
            problems += [Problem(f"{label} {text}", each.message) for each in error.problems]
            continue
        problems += [Problem(f"{label} {text}", each.message) for each in document.problems]
        lines.append(ChangeLine(text, label, place, document.data["value"]))
    parameters: dict[str, dict[str, Any]] = {}
    for line in lines:
        step, dot, name = line.place.partition(".")
        if dot and not _is_of_recipe(name):
            parameters.setdefault(step, {})[name] = line.value
    distinct = next((line for line in reversed(lines) if line.place == DISTINCT), None)
    overrides = Overrides(parameters=parameters)
    if distinct is not None:
        rule, wrong = check(Overrides, {DISTINCT: distinct.value})
        problems += [distinct.problem(each.message) for each in wrong]
        if distinct.value is None:
            problems.append(distinct.problem("must be true, false or a rule, such as {distance: 8, on_fail: warn}"))
        overrides |= rule or Overrides()
    return Changes(tuple(lines), overrides), problems


def change_recipe(
    recipe: dict[str, Any], changes: Changes, find_gate: Callable[[str], NamedGate]
) -> tuple[dict[str, ChangeLine], list[Problem]]:
    """Sets conditions and gates in the recipe as read from its file.

    Returns the path in the recipe -> the line that set it, and what cannot be set.
    """
    entries = {entry["id"]: (path, entry) for path, entry in _entries(recipe.get("steps"), "steps")}
    places: dict[str, ChangeLine] = {}
    problems = []
    for line in changes.lines:
        step, _, name = line.place.partition(".")
        if not _is_of_recipe(name):
            continue
        if step not in entries:
            problems.append(line.problem(f"the recipe has no step `{step}`{did_you_mean(step, entries)}"))
            continue
        path, entry = entries[step]
        try:
            places[child(path, _set(entry, name, line.value, find_gate))] = line
        except LookupError as missing:
            problems.append(line.problem(f"`{step}` {missing.args[0]}"))
    return places, problems


def _is_of_recipe(name: str) -> bool:
    return name in _OF_RECIPE or name.startswith(("require[", "require."))


def _entries(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything with an id, in branches and loops too."""
    if isinstance(value, dict):
        if isinstance(value.get("id"), str):
            yield path, value
        for name, inner in value.items():
            yield from _entries(inner, child(path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _entries(inner, child(path, place))


def _set(entry: dict[str, Any], name: str, value: Any, find_gate: Callable[[str], NamedGate]) -> str:
    """Returns what was set, as a path in the entry. Raises LookupError, whose message goes on from the step's name."""
    if name in _OF_RECIPE:
        entry[name] = [value] if name == "require" and isinstance(value, str | dict) else value
        return name
    checks = entry.get("require")
    checks = checks if isinstance(checks, list) else []
    place = _place(name, checks)
    checks[place] = _check(checks[place], value, find_gate)
    return child("require", place)


def _place(name: str, checks: Sequence[Any]) -> int:
    match = _ONE_CHECK.fullmatch(name)
    if match is None:
        raise LookupError(f"has no `{name}`: {HOW}")
    if match[1] is not None:
        if int(match[1]) >= len(checks):
            count = f"{len(checks)} {'gate' if len(checks) == 1 else 'gates'}"
            raise LookupError(f"has {count}, and the first is require[0]")
        return int(match[1])
    gates = [_gate_name(check) for check in checks]
    if match[2] not in gates:
        known = [gate for gate in gates if gate is not None]
        raise LookupError(f"lists no gate `{match[2]}`{did_you_mean(match[2], known)}")
    return gates.index(match[2])


def _gate_name(check: Any) -> str | None:
    if isinstance(check, dict):
        return check.get("gate")
    return check if isinstance(check, str) and _GATE_NAME.fullmatch(check) else None


def _check(former: Any, value: Any, find_gate: Callable[[str], NamedGate]) -> Any:
    """Another condition keeps the words that are said of an image that does not meet it."""
    if not isinstance(value, str) or _GATE_NAME.fullmatch(value):
        return value
    because = former.get("because") if isinstance(former, Mapping) else None
    if isinstance(former, str) and _GATE_NAME.fullmatch(former):
        with suppress(UnknownGate, InvalidInput):  # the check that follows says so
            because = find_gate(former).because
    return value if because is None else {"that": value, "because": because}


def text_lines(text: str) -> tuple[str, ...]:
    """The lines of a form's field that say something."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())
