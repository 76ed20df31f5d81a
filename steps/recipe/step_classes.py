"""The classes of steps: found in the catalogue, and made with the parameters that a recipe gives them."""

from collections.abc import Collection, Iterator

from pydantic import BaseModel

from configs.catalogues.catalogue import BrokenEntry, UnknownName, load_step
from configs.documents.fields import Item
from configs.documents.problems import Problem, check
from configs.recipe.recipe import RecipeStep
from steps.contract import Step
from steps.facts import FACTS
from steps.recipe.draft import ProgramDraft
from steps.recipe.scope import CompileScope


def make_step(entry: RecipeStep, path: str, scope: CompileScope, draft: ProgramDraft) -> Step | None:
    """Make the step with the parameters that the loops around give it, or report its mistakes and return None."""
    try:
        kind = _class_of(entry)
    except (UnknownName, BrokenEntry) as error:
        draft.complain(scope, f"{path}.step", str(error.args[0]))
        return None
    changed = scope.loops.parameters(entry.id)
    step, mistakes = check(kind, {**entry.parameters, **changed}, path, also_known=tuple(_names_of_fields(RecipeStep)))
    if not scope.is_again:
        draft.problems += mistakes
    elif changed:
        values = ", ".join(f"{name}: {value}" for name, value in changed.items())
        draft.problems += [Problem(each.path, f"with {values} of a loop: {each.message}") for each in mistakes]
    return step


def facts_of(entry: RecipeStep, step: Step | None) -> Collection[str] | None:
    """Return the facts that the entry's images may have, or None if there is no such step.

    Of a step that could not be made, those that its class may measure: conditions on others are mistakes either way.
    """
    try:
        kind = step or _class_of(entry)
    except (UnknownName, BrokenEntry):
        return None
    own = kind.own_facts if step is None else step.measured_facts()
    return {*own, *(() if kind.keeps_image else FACTS)}


def reads_seed(entry: RecipeStep) -> bool:
    """Return whether another seed makes another image; true for a step that cannot be made."""
    try:
        step, _ = check(_class_of(entry), entry.parameters)
    except (UnknownName, BrokenEntry):
        step = None
    if step is None:
        return True
    item = Item(index=0, name="any", prompt="any", seed=0, image="any", mask="any")
    try:
        return step.identity(item) != step.identity(item.model_copy(update={"seed": 1}))
    except Exception:
        return True


def _class_of(entry: RecipeStep) -> type[Step]:
    kind = load_step(entry.step)
    if not issubclass(kind, Step):
        raise BrokenEntry(f"`{entry.step}` is in the catalogue, but no subclass of Step")
    return kind


def _names_of_fields(model: type[BaseModel]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield info.alias or name
