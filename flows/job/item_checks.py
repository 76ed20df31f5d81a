"""Checks of a job's items against its recipe, before any work."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain

from configs.conditions import CONSTANTS, Condition
from configs.documents import uris
from configs.documents.fields import ItemFile, Scalar
from configs.documents.problems import Problem, describe, did_you_mean
from configs.documents.uris import WebAddress
from configs.documents.yaml_source import Document
from configs.job.csv_dialect import BOOLEAN_WORDS
from configs.job.items import JobItems, Origin, variables_of
from configs.job.prompt_dialects import remarks
from configs.settings.settings import Settings
from gpu_worker.walk.prediction import ReachableVisits
from steps.diffusion import DiffusionStep
from steps.recipe.program import Program, ResolvedStep
from steps.template import placeholders

Vars = Mapping[str, Scalar]
_ITEM_FILES: tuple[ItemFile, ...] = ("image", "mask")


def unknown_variables(conditions: Iterable[tuple[str, Condition]], items: JobItems) -> Iterator[Problem]:
    """Yield a problem for each variable in a condition that no item has: most likely it is misspelled."""
    if not items.complete:
        return
    known = tuple(variables_of(items.items))
    for path, condition in conditions:
        for name in sorted(condition.names):
            if name[0] == "vars" and name[1] not in known:
                hint = did_you_mean(name[1], known)
                yield Problem(path, f"no item has the variable `{name[1]}`{hint}; give it in the job's `vars`")


def variables_read(
    conditions: Iterable[tuple[str, Condition]], steps: Iterable[tuple[str, ResolvedStep]]
) -> Iterator[str]:
    """Yield the names of the variables that conditions and prompt templates read."""
    for _, condition in conditions:
        yield from (name[1] for name in condition.names if name[0] == "vars")
    for _, resolved in steps:
        for field in ("prompt", "negative_prompt"):
            yield from placeholders(getattr(resolved.step, field, ""))


def boolean_problems(
    conditions: Iterable[tuple[str, Condition]], items: JobItems, job_vars: Vars, defaults: Vars
) -> Iterator[Problem]:
    """Yield a problem for each text that means a boolean, in a variable that conditions read as one.

    Any text would count as true. Variables with a boolean as their default are left to `as_declared`.
    """
    truths = {name for path, condition in conditions for name in _read_as_truth(path, condition)}
    truths -= {name for name, default in {**job_vars, **defaults}.items() if isinstance(default, bool)}
    for name in sorted(truths & job_vars.keys()):
        if (message := _means_boolean(name, job_vars[name])) is not None:
            yield Problem(f"vars.{name}", message)
    for item, origin in zip(items.items, items.origins, strict=True):
        for name in truths & item.vars.keys():
            if item.vars[name] != job_vars.get(name) and (message := _means_boolean(name, item.vars[name])) is not None:
                yield origin.variable_problem(name, message)


def _means_boolean(name: str, value: Scalar) -> str | None:
    if not isinstance(value, str) or value.lstrip("'").casefold() not in BOOLEAN_WORDS:
        return None
    advice = f'write true or false, or let the recipe compare it, as `vars.{name} == "…"`'
    return f"{describe(value)} counts as true: {advice}"


def prompt_notices(steps: Iterable[tuple[str, ResolvedStep]], items: JobItems, *, expanded: bool) -> Iterator[str]:
    """Yield a notice for each kind of sign in prompts that no step of the recipe understands."""
    painting = [(resolved.id, resolved.step) for _, resolved in steps if isinstance(resolved.step, DiffusionStep)]
    if not painting:
        return
    templates = [(f"step {name}", text) for name, step in painting for text in (step.prompt, step.negative_prompt)]
    prompts = ((item.name, text) for item in items.items for text in (item.prompt, item.negative_prompt) if text)
    yield from remarks(chain(templates, prompts), expanded=expanded)


def _read_as_truth(path: str, condition: Condition) -> Iterator[str]:
    """Yield the variables whose truth the condition depends on, or that it compares with true or false."""

    def within(node: ast.AST, is_truth: bool) -> Iterator[str]:
        match node:
            case ast.Attribute(value=ast.Name(id="vars"), attr=name) if is_truth:
                yield name
            case ast.BoolOp(values=parts):
                yield from (name for part in parts for name in within(part, True))
            case ast.UnaryOp(op=ast.Not(), operand=part):
                yield from within(part, True)
            case ast.Compare(left=left, comparators=others):
                parts = [left, *others]
                with_boolean = any(
                    isinstance(part, ast.Constant | ast.Name) and isinstance(_constant(part), bool) for part in parts
                )
                yield from (name for part in parts for name in within(part, with_boolean))

    yield from within(ast.parse(condition.text, mode="eval").body, not path.endswith((".switch", ".by")))


def _constant(node: ast.Constant | ast.Name) -> object:
    return node.value if isinstance(node, ast.Constant) else CONSTANTS.get(node.id)


def host_problems(items: JobItems, settings: Settings) -> Iterator[Problem]:
    """Yield a problem for each forbidden host of an input file, where it is named first."""
    first: dict[str, tuple[Origin, ItemFile]] = {}
    for item, origin in zip(items.items, items.origins, strict=True):
        for field in _ITEM_FILES:
            uri = getattr(item, field)
            if uri is not None and uris.is_web(uri):
                with suppress(ValueError):  # reported before
                    address = WebAddress.parse(uri)
                    if address.ip is None:
                        first.setdefault(address.host, (origin, field))
    if not first:
        return
    from storage.inputs.web_source import host_objections  # only for those who read from the web

    for host, objection in host_objections(first, private=settings.input_private_hosts).items():
        origin, field = first[host]
        yield origin.problem(field, objection)


def item_problems(program: Program | None, recipe: Document, items: JobItems) -> list[Problem]:
    """Return the steps' problems with the items that may visit them, and conditions that cannot be evaluated."""
    problems: dict[Problem, None] = {}
    if program is None:
        return []
    reachable = ReachableVisits(program)
    checked: dict[str, Origin] = {}  # by step
    for item, origin in zip(items.items, items.origins, strict=True):
        visits = reachable.of(item)
        for mistake in visits.mistakes:
            for problem in recipe.locate([mistake]):
                problems.setdefault(problem)
        has_image = False  # or may have one
        for visit, surely in visits.visits:
            if visit.step.makes_image:
                has_image = True
            elif not has_image and surely:
                message = (
                    f"the step `{visit.step_id}` needs an image, but the item visits no step that makes one before"
                )
                problems.setdefault(origin.problem("", message))
            if checked.get(visit.step_id) is not origin:
                checked[visit.step_id] = origin
                for message in visit.step.item_problems(item):
                    problems.setdefault(origin.problem("", f"{message} (step `{visit.step_id}`, item `{item.name}`)"))
        if not visits.visits and not visits.mistakes:
            message = f"the item `{item.name}` visits no step: every `when` of the recipe is false for it"
            problems.setdefault(origin.problem("", message))
    return list(problems)
