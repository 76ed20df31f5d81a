"""Gates: the test, then retries with a test each, then the repair with one, then the verdict."""

from collections.abc import Callable
from dataclasses import replace

from configs.recipe.recipe import Gate, OnFail, RecipeStep
from steps.recipe.entries import Compiling, title_of
from steps.recipe.program import Check, Reject, Warn
from steps.recipe.scope import CompileScope, Origin

# Makes the image anew: (how-manieth attempt, from 2; for whom) -> those who have another image then.
Redo = Callable[[int, CompileScope], CompileScope]


def write_lone_gate(compiling: Compiling, entry: Gate, path: str, scope: CompileScope, redo: Redo | None) -> Origin:
    """A gate that is an entry of its own; with a condition it is for those who meet that."""
    if not scope.origin.has_image:
        compiling.draft.complain(scope, path, "no step before this gate makes an image")
    if entry.when is not None:
        condition = compiling.conditions.read(entry.when, f"{path}.when", scope)
        if condition is None:
            return scope.origin
        scope = scope.where(compiling.draft.decide(f"{title_of(entry)}.when", condition, scope, f"{path}.when"))
    return write_gate(compiling, entry, path, scope, redo)


def write_gate(
    compiling: Compiling, entry: Gate | RecipeStep, path: str, scope: CompileScope, redo: Redo | None
) -> Origin:
    """Of those who are in the scope. `redo` None: nothing is made anew."""
    draft = compiling.draft
    plan = entry.on_fail if isinstance(entry.on_fail, OnFail) else OnFail(then=entry.on_fail)
    failing = _test(compiling, entry, path, scope)
    if plan.change and not plan.retry:
        draft.complain(scope, f"{path}.on_fail.change", "there is no `retry` that it could be for")
    origin, again = scope.origin, replace(scope, is_again=True)
    if redo is not None:
        for number in range(2, plan.retry + 2):
            made = redo(number, failing)
            failing = _test(compiling, entry, path, replace(again, guards=made.guards, origin=made.origin))
            origin = origin.join(made.origin)
    if plan.repair:
        mending = replace(scope, guards=failing.guards, origin=origin)
        mended = compiling.write_within(plan.repair, f"{path}.on_fail.repair", mending)
        failing = _test(compiling, entry, path, replace(again, guards=failing.guards, origin=mended))
        origin = origin.join(mended)
    guards, place = failing.guards, f"{path}.on_fail"
    if plan.then == "warn":
        draft.add(Warn(test=guards[-1].decision, guards=guards, place=place))
    else:
        draft.add(Reject(test=guards[-1].decision, candidate_of=scope.candidate_of, guards=guards, place=place))
    return origin


def _test(compiling: Compiling, entry: Gate | RecipeStep, path: str, scope: CompileScope) -> CompileScope:
    """Returns the scope of those who fail it."""
    name = title_of(entry)
    requirements = compiling.conditions.requirements(entry, path, scope)
    key = compiling.draft.name(f"{name}.require")
    of = entry.id if isinstance(entry, RecipeStep) else None
    compiling.draft.add(
        Check(key=key, name=name, requirements=requirements, of=of, guards=scope.guards, place=f"{path}.require")
    )
    return scope.where(key, False)
