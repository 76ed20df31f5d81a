"""The recipe that a job is decided by anew: a file or a name, or its own with other parameters and gates."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from configs.catalogues import catalogue
from configs.catalogues.catalogue import BrokenEntry, UnknownName, load_step
from configs.catalogues.gates import find_gate
from configs.documents.fields import Item
from configs.documents.problems import InvalidInput, Problem, child
from configs.documents.yaml_source import Document
from configs.recipe.recipe import Recipe
from configs.recipe.source import Overrides, take_overrides
from configs.settings.settings import Settings
from flows.job.request import OtherRecipe, check_other_recipe, open_recipe
from flows.regate.changes import DISTINCT, ChangeLine, Changes, change_recipe, read_changes
from steps.contract import Step
from storage.inputs.sources import read_uri
from storage.ledger.records import JobRecord

_MISSING = object()


@dataclass(frozen=True, slots=True)
class NewRecipe:
    """How a recipe was asked for: by name or path (None: the job's own, its gates read anew), and what is changed."""

    name: str | None = None
    changes: tuple[str, ...] = ()  # `step.parameter=value`, `step.require=condition`
    label: str = "--set"  # what a change is called where it is wrong


@dataclass(frozen=True, slots=True)
class Dropped:
    """A parameter of the job's that the new recipe has no place for."""

    place: str  # `large.scale`
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Own:
    """What of the job's own settings holds in another recipe.

    `kept` are set in it as in the former one, and `overrides` are all that the job then has of its own. None: nobody
    knows, as of jobs that have begun before that was kept; `forgotten` if that may be missed.
    """

    overrides: Overrides | None
    kept: Overrides = field(default_factory=Overrides)
    dropped: tuple[Dropped, ...] = ()
    forgotten: bool = False


def read_new_recipe(
    job: JobRecord, items: Sequence[Item], wanted: NewRecipe, settings: Settings
) -> tuple[OtherRecipe, Own]:
    """The recipe that was asked for, for the job's items, with the job's own parameters and what is changed.

    Models that the job was planned with need not be on this machine. Raises InvalidInput with every mistake.
    """
    catalogue.extend(settings.catalogue_path)
    changes, problems = read_changes(wanted.changes, wanted.label)
    document = None
    try:
        document = _document(job, wanted.name, settings)
    except InvalidInput as error:
        problems += error.problems
    if document is None:
        raise InvalidInput(problems)
    own, wrong = _own(job, wanted, document, changes.overrides)
    places, unknown = change_recipe(document.data, changes, lambda name: find_gate(name, settings))
    problems += [*wrong, *unknown]
    try:
        read = check_other_recipe(
            document,
            items,
            settings,
            overrides=own.kept | changes.overrides,
            model_digests=job.model_digests,
            owner=job.id,
        )
    except InvalidInput as error:
        theirs = [_about_change(each, changes, places) for each in error.problems]
        if wanted.name is None:
            theirs = [replace(each, line=None) for each in theirs]  # there is no file
        raise InvalidInput([*problems, *theirs]) from None
    problems += _changed_defaults(job, read.recipe, items)
    if problems:
        raise InvalidInput(problems)
    return read, own


def _own(job: JobRecord, wanted: NewRecipe, document: Document, changed: Overrides) -> tuple[Own, list[Problem]]:
    """What of the job's own settings has to be set in the recipe that was read."""
    told, problems = take_overrides(document)
    if wanted.name is None:  # they are in it
        return Own(_with(job.overrides, changed)), []
    if told is not None:  # a recipe that was kept with them in it
        return Own(_with(told.overrides, changed)), list(document.locate(problems))
    if job.overrides is None:
        return Own(changed, forgotten=True), list(document.locate(problems))
    dropped = tuple(_dropped(document.data, job.overrides))
    other = {each.place for each in dropped} | {
        f"{step}.{name}" for step, values in changed.parameters.items() for name in values
    }
    parameters = {
        step: {name: value for name, value in values.items() if f"{step}.{name}" not in other}
        for step, values in job.overrides.parameters.items()
    }
    kept = Overrides(
        parameters={step: values for step, values in parameters.items() if values},
        distinct=job.overrides.distinct if changed.distinct is None else None,
    )
    return Own(kept | changed, kept, dropped), list(document.locate(problems))


def _with(known: Overrides | None, changed: Overrides) -> Overrides | None:
    return known | changed if known is not None else None


def _dropped(recipe: Mapping[str, Any], overrides: Overrides) -> Iterator[Dropped]:
    listed = recipe.get("steps")
    steps = {
        each["id"]: each.get("step")
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict) and isinstance(each.get("id"), str)
    }
    for step_id, values in overrides.parameters.items():
        step = steps.get(step_id)
        try:
            kind: type[Step] | None = load_step(step) if isinstance(step, str) else None
        except (UnknownName, BrokenEntry):
            continue  # the recipe is refused for that
        for name, value in values.items():
            if step_id not in steps:
                yield Dropped(f"{step_id}.{name}", value, f"the recipe has no step `{step_id}`")
            elif kind is not None and name not in kind.model_fields:
                yield Dropped(f"{step_id}.{name}", value, f"`{step_id}` is a step `{step}`, which has no `{name}`")


def recipe_changes(old: Recipe, new: Recipe) -> list[tuple[str, Any, Any]]:
    """(where, before, after) of everything that differs and decides something; None: it is not there.

    Steps go by their ids, so that a step that is put in front does not move all others.
    """
    before, after = (dict(_leaves(_written(recipe), "")) for recipe in (old, new))
    return [
        (path, before.get(path), after.get(path))
        for path in {**before, **after}
        if before.get(path, _MISSING) != after.get(path, _MISSING)
    ]


def _written(recipe: Recipe) -> dict[str, Any]:
    document = recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {name: value for name, value in document.items() if name not in ("name", "description")}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            if not (path and name == "id"):
                yield from _leaves(inner, child(path, name))
    elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        for place, inner in enumerate(value):
            yield from _leaves(inner, child(path, inner["id"]) if "id" in inner else child(path, place))
    else:
        yield path, value


def _document(job: JobRecord, name: str | None, settings: Settings) -> Document:
    if name is not None:
        return open_recipe(name, str(Path.cwd()), settings, read_bytes=partial(read_uri, settings=settings))
    written = job.recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return Document(_with_gates_by_name(written), f"the recipe of {job.id}", {})


def _with_gates_by_name(value: Any) -> Any:
    """The inverse of writing gates out, so that their files say anew what they require."""
    if isinstance(value, dict):
        return {
            name: [each["gate"] if isinstance(each, dict) and each.get("gate") else each for each in inner]
            if name == "require" and isinstance(inner, list)
            else _with_gates_by_name(inner)
            for name, inner in value.items()
        }
    return [_with_gates_by_name(each) for each in value] if isinstance(value, list) else value


def _about_change(problem: Problem, changes: Changes, places: Mapping[str, ChangeLine]) -> Problem:
    """A problem of what was changed in the words of who changed it."""
    line = next(
        (line for place, line in places.items() if f"{problem.path}.".startswith((f"{place}.", f"{place}["))), None
    )
    if line is not None:
        return line.problem(problem.message)
    prefix, _, place = problem.path.partition(".")
    if problem.path != DISTINCT and prefix != "parameters":
        return problem
    line = changes.line_of(place or DISTINCT)
    if line is None:
        return Problem(f"the job's {problem.path}", f"{problem.message}; `{place or DISTINCT}=…` sets another")
    if place == "vars" and problem.message.startswith("the recipe has no step"):
        return line.problem("variables belong to the items: change the condition that reads it, as `STEP.require=…`")
    return line.problem(problem.message)


def _changed_defaults(job: JobRecord, new: Recipe, items: Sequence[Item]) -> Iterator[Problem]:
    """Defaults of variables that may have been an item's own: the ledger cannot tell."""
    for name, default in _changed(job.recipe.vars, new.vars):
        before = job.recipe.vars[name]
        count = sum(item.vars.get(name, _MISSING) == before for item in items)
        if count:
            message = (
                f"the default was {json.dumps(before)} and is {json.dumps(default)} here, and of {count:,} items with "
                f"{json.dumps(before)} nobody knows whether they have it of their own: keep the default, or `pixelmill "
                "run` a job file with this recipe (images that exist are not made again)"
            )
            yield Problem(child("vars", name), message)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in new.items() if name in old and old[name] != value)
