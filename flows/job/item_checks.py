"""Checks of a job's items against its recipe, before any work."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from configs.conditions import Condition
from configs.documents import uris
from configs.documents.fields import ItemFile
from configs.documents.problems import Problem, did_you_mean
from configs.documents.uris import WebAddress
from configs.documents.yaml_source import Document
from configs.job.items import JobItems, Origin, variables_of
from configs.settings.settings import Settings
from gpu_worker.walk.prediction import ReachableVisits
from steps.recipe.program import Program

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
