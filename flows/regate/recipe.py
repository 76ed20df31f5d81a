"""Read the recipe for a reevaluation: a file or a name, or the job's own with changed parameters and gates."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from configs.catalogues import catalogue
from configs.catalogues.catalogue import BrokenEntry, UnknownName, load_step
from configs.catalogues.gates import NamedGate, UnknownGate, find_gate
from configs.documents.fields import Item
from configs.documents.problems import InvalidInput, Problem, check, child, did_you_mean
from configs.documents.yaml_source import Document, parse_yaml
from configs.recipe.recipe import DISTINCT, Recipe
from configs.recipe.source import Overrides, take_overrides
from configs.settings.settings import Settings
from flows.job.request import CheckedRecipe, check_other_recipe, open_recipe
from flows.report.render import plural
from steps.contract import Step
from storage.ledger.records import JobRecord

HOW = (
    "write it as STEP.PARAMETER=VALUE, such as base.guidance=4.0, or as STEP.require=CONDITION, such as "
    "base.require=facts.this.contrast >= 0.2"
)
_RECIPE_FIELDS = ("require", "when", "on_fail", "facts")  # fields of a step that a job file cannot set
_REQUIREMENT = re.compile(r"require(?:\[([0-9]{1,4})\]|\.([a-z][a-z0-9_]*))")  # require[0], require.sharp
_GATE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class NewRecipe:
    """A request for a recipe: a name or path, or None for the job's own with its named gates read again."""

    name: str | None = None
    changes: tuple[str, ...] = ()  # `step.parameter=value`, `step.require=condition`
    label: str = "--set"  # the name of a change in messages


@dataclass(frozen=True, slots=True)
class DroppedOverride:
    """A parameter that the job had set and that the new recipe does not have."""

    path: str  # `large.scale`
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class JobOverrides:
    """The job's own settings in another recipe.

    `kept` are set in it as in the former one. `overrides` are all that the job has of its own afterwards, or None for
    jobs begun before these were recorded; `forgotten` if that may matter.
    """

    overrides: Overrides | None
    kept: Overrides = field(default_factory=Overrides)
    dropped: tuple[DroppedOverride, ...] = ()
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """A line `PATH=VALUE`. `label` is the name of its origin, such as `--set`."""

    text: str
    label: str
    path: str  # `base.guidance`, `distinct`
    value: Any

    @property
    def step(self) -> str:
        return self.path.partition(".")[0]

    @property
    def field(self) -> str:
        return self.path.partition(".")[2]

    @property
    def changes_recipe(self) -> bool:
        """Whether it sets a condition or gate, which only a recipe has, and not an override."""
        return self.field in _RECIPE_FIELDS or self.field.startswith(("require[", "require."))

    def problem(self, message: str) -> Problem:
        return Problem(f"{self.label} {self.text}", message)


def read_new_recipe(
    job: JobRecord, items: Sequence[Item], wanted: NewRecipe, settings: Settings
) -> tuple[CheckedRecipe, JobOverrides]:
    """Read the requested recipe for the job's items, with the job's own parameters and the changes.

    Models that the job was planned with need not be on this machine. Raises InvalidInput with every mistake.
    """
    catalogue.extend(settings.catalogue_path)
    lines, changed, problems = read_changes(wanted.changes, wanted.label)
    try:
        if wanted.name is not None:
            document = open_recipe(wanted.name, str(Path.cwd()), settings)
        else:
            document = Document(_with_gates_by_name(as_written(job.recipe)), f"the recipe of {job.id}", {})
    except InvalidInput as error:
        raise InvalidInput([*problems, *error.problems]) from None
    written, mistakes = take_overrides(document)
    problems += document.locate(mistakes)
    if wanted.name is not None and written is None:
        own = _own_overrides(job, document.data, changed)
    else:  # the job's own recipe, or one that was kept, has the overrides in it
        known = (written or job).overrides
        own = JobOverrides(known | changed if known is not None else None)
    paths, unknown = change_recipe(document.data, lines, partial(find_gate, settings=settings))
    problems += unknown
    try:
        read = check_other_recipe(
            document,
            items,
            settings,
            overrides=own.kept | changed,
            model_digests=job.model_digests,
            owner=job.id,
        )
    except InvalidInput as error:
        others = [_about_change(each, lines, paths) for each in error.problems]
        if wanted.name is None:
            others = [replace(each, line=None) for each in others]  # there is no file
        raise InvalidInput([*problems, *others]) from None
    problems += _changed_defaults(job, read.recipe, items)
    if problems:
        raise InvalidInput(problems)
    return read, own


def read_changes(texts: Sequence[str], label: str) -> tuple[list[ChangeLine], Overrides, list[Problem]]:
    """Read the lines, their values as YAML.

    Returns with them what a job could set itself as overrides, and the problems of all other lines.
    """
    problems: list[Problem] = []
    lines = [line for text in texts if (line := _read_line(text, label, problems)) is not None]
    parameters: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line.field and not line.changes_recipe:
            parameters.setdefault(line.step, {})[line.field] = line.value
    overrides = Overrides(parameters=parameters)
    if distinct := [line for line in lines if line.path == DISTINCT]:
        rule, wrong = check(Overrides, {DISTINCT: distinct[-1].value})
        problems += [distinct[-1].problem(each.message) for each in wrong]
        if distinct[-1].value is None:
            problems.append(distinct[-1].problem("must be true, false or a rule, such as {distance: 8, on_fail: warn}"))
        overrides |= rule or Overrides()
    return lines, overrides, problems


def _read_line(text: str, label: str, problems: list[Problem]) -> ChangeLine | None:
    path, equals, value = (part.strip() for part in text.partition("="))
    line = ChangeLine(text, label, path, None)
    if not equals or (path != DISTINCT and not (line.step and line.field)):
        problems.append(line.problem(HOW))
        return None
    try:
        document = parse_yaml(f"value: {value}".encode(), "")
    except InvalidInput as error:
        problems += [line.problem(each.message) for each in error.problems]
        return None
    problems += [line.problem(each.message) for each in document.problems]
    return replace(line, value=document.data["value"])


# -- conditions and gates, set in the recipe as it was read ------------------------------------------------------------


def change_recipe(
    recipe: dict[str, Any], lines: Sequence[ChangeLine], find_gate: Callable[[str], NamedGate]
) -> tuple[dict[str, ChangeLine], list[Problem]]:
    """Set conditions and gates in a recipe as read from its file.

    Returns path in the recipe -> the line that set it, and what cannot be set.
    """
    nodes = {node["id"]: (path, node) for path, node in _nodes(recipe.get("steps"), "steps")}
    paths: dict[str, ChangeLine] = {}
    problems = []
    for line in lines:
        if not line.changes_recipe:
            continue
        if line.step not in nodes:
            problems.append(line.problem(f"the recipe has no step `{line.step}`{did_you_mean(line.step, nodes)}"))
            continue
        path, node = nodes[line.step]
        try:
            paths[child(path, _set(node, line.field, line.value, find_gate))] = line
        except LookupError as missing:
            problems.append(line.problem(f"`{line.step}` {missing.args[0]}"))
    return paths, problems


def _nodes(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield everything with an id, in branches and loops too."""
    if isinstance(value, dict):
        if isinstance(value.get("id"), str):
            yield path, value
        for name, inner in value.items():
            yield from _nodes(inner, child(path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _nodes(inner, child(path, index))


def _set(node: dict[str, Any], name: str, value: Any, find_gate: Callable[[str], NamedGate]) -> str:
    """Return the path of what was set. Raises LookupError, whose message continues a sentence about the step."""
    if name in _RECIPE_FIELDS:
        node[name] = [value] if name == "require" and isinstance(value, str | dict) else value
        return name
    listed = node.get("require")
    requirements = listed if isinstance(listed, list) else []
    index = _requirement_index(name, requirements)
    requirements[index] = _requirement(requirements[index], value, find_gate)
    return child("require", index)


def _requirement_index(name: str, requirements: Sequence[Any]) -> int:
    match = _REQUIREMENT.fullmatch(name)
    if match is None:
        raise LookupError(f"has no `{name}`: {HOW}")
    position, gate = match.groups()
    if position is not None:
        if not requirements:
            raise LookupError("has no gates")
        if int(position) >= len(requirements):
            raise LookupError(f"has {plural(len(requirements), 'gate')}, and the first is require[0]")
        return int(position)
    gates = [_gate_name(each) for each in requirements]
    if gate not in gates:
        raise LookupError(f"lists no gate `{gate}`{did_you_mean(gate, [each for each in gates if each is not None])}")
    return gates.index(gate)


def _gate_name(requirement: Any) -> str | None:
    if isinstance(requirement, dict):
        return requirement.get("gate")
    return requirement if isinstance(requirement, str) and _GATE_NAME.fullmatch(requirement) else None


def _requirement(former: Any, value: Any, find_gate: Callable[[str], NamedGate]) -> Any:
    """Return the new requirement; another condition keeps the reason that is given for a refused image."""
    if not isinstance(value, str) or _GATE_NAME.fullmatch(value):
        return value
    because = former.get("because") if isinstance(former, Mapping) else None
    if isinstance(former, str) and _GATE_NAME.fullmatch(former):
        with suppress(UnknownGate, InvalidInput):  # reported when the recipe is checked
            because = find_gate(former).because
    return value if because is None else {"that": value, "because": because}


# -- the job's own settings --------------------------------------------------------------------------------------------


def _own_overrides(job: JobRecord, recipe: Mapping[str, Any], changed: Overrides) -> JobOverrides:
    """Decide which of the job's own settings to set in a recipe that does not have them in it."""
    if job.overrides is None:
        return JobOverrides(changed, forgotten=True)
    listed = recipe.get("steps")
    steps = {
        node["id"]: node.get("step")
        for node in (listed if isinstance(listed, list) else ())
        if isinstance(node, dict) and isinstance(node.get("id"), str)
    }
    kept: dict[str, dict[str, Any]] = {}
    dropped = []
    for step_id, values in job.overrides.parameters.items():
        step = steps.get(step_id)
        kind: type[Step] | None = None
        with suppress(UnknownName, BrokenEntry):  # the recipe is refused for that
            kind = load_step(step) if isinstance(step, str) else None
        for name, value in values.items():
            if step_id not in steps:
                dropped.append(DroppedOverride(f"{step_id}.{name}", value, f"the recipe has no step `{step_id}`"))
            elif kind is not None and name not in kind.model_fields:
                reason = f"`{step_id}` is a step `{step}`, which has no `{name}`"
                dropped.append(DroppedOverride(f"{step_id}.{name}", value, reason))
            elif name not in changed.parameters.get(step_id, {}):
                kept.setdefault(step_id, {})[name] = value
    own = Overrides(parameters=kept, distinct=job.overrides.distinct if changed.distinct is None else None)
    return JobOverrides(own | changed, own, tuple(dropped))


# -- differences and messages ------------------------------------------------------------------------------------------


def recipe_changes(old: Recipe, new: Recipe) -> list[tuple[str, Any, Any]]:
    """Return (path, before, after) of everything that differs and affects a decision; None where it is missing.

    Steps go by their ids, so that a step that is put in front does not move all others.
    """
    before, after = (dict(_leaves(as_written(recipe, "name", "description"), "")) for recipe in (old, new))
    return [
        (path, before.get(path), after.get(path))
        for path in {**before, **after}
        if before.get(path, _MISSING) != after.get(path, _MISSING)
    ]


def as_written(recipe: Recipe, *without: str) -> dict[str, Any]:
    """Return the recipe as a file has it, without defaults and these fields."""
    return recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(without))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            if not (path and name == "id"):
                yield from _leaves(inner, child(path, name))
    elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, child(path, inner.get("id", index)))
    else:
        yield path, value


def _with_gates_by_name(value: Any) -> Any:
    """Undo the expansion of named gates, so that their files are read again."""
    if isinstance(value, dict):
        return {
            name: [each["gate"] if isinstance(each, dict) and each.get("gate") else each for each in inner]
            if name == "require" and isinstance(inner, list)
            else _with_gates_by_name(inner)
            for name, inner in value.items()
        }
    return [_with_gates_by_name(each) for each in value] if isinstance(value, list) else value


def _about_change(problem: Problem, lines: Sequence[ChangeLine], paths: Mapping[str, ChangeLine]) -> Problem:
    """Return a problem as one of the line that caused it."""
    line = next((line for path, line in paths.items() if f"{problem.path}.".startswith((f"{path}.", f"{path}["))), None)
    if line is not None:
        return line.problem(problem.message)
    prefix, _, path = problem.path.partition(".")
    if problem.path != DISTINCT and prefix != "parameters":
        return problem
    path = path or DISTINCT
    line = next((line for line in reversed(lines) if f"{line.path}.".startswith(f"{path}.")), None)
    if line is None:
        return Problem(f"the job's {problem.path}", f"{problem.message}; `{path}=…` sets another")
    if path == "vars" and problem.message.startswith("the recipe has no step"):
        return line.problem("variables belong to the items: change the condition that reads it, as `STEP.require=…`")
    return line.problem(problem.message)


def _changed_defaults(job: JobRecord, new: Recipe, items: Sequence[Item]) -> Iterator[Problem]:
    """Yield changed defaults of variables that items may have set themselves: the ledger has only the value."""
    for name, default in new.vars.items():
        before = job.recipe.vars.get(name, default)
        if before == default:
            continue
        if count := sum(item.vars.get(name, _MISSING) == before for item in items):
            message = (
                f"the default was {json.dumps(before)} and is {json.dumps(default)} here, and {count:,} items with "
                f"{json.dumps(before)} may have set it themselves: keep the default, or `pixelmill run` a job file "
                "with this recipe (images that exist are not made again)"
            )
            yield Problem(child("vars", name), message)
