"""Branches: a group of steps under a condition, and the cases of a value."""

from configs.documents.problems import child
from configs.recipe.recipe import Group, RecipeStep, Switch
from steps.recipe.entries import Compiling, title_of
from steps.recipe.program import DEFAULT, Select
from steps.recipe.scope import CompileScope, Origin


def write_group(compiling: Compiling, entry: Group, path: str, scope: CompileScope) -> Origin:
    """`steps` for those who meet the condition, `else` for the others."""
    condition = compiling.conditions.read(entry.when, f"{path}.when", scope)
    if condition is None:
        return scope.origin
    key = compiling.draft.decide(f"{title_of(entry)}.when", condition, scope, f"{path}.when")
    met = compiling.write_within(entry.steps, f"{path}.steps", scope.where(key))
    return met.join(compiling.write_within(entry.otherwise, f"{path}.else", scope.where(key, False)))


def write_switch(compiling: Compiling, entry: Switch, path: str, scope: CompileScope) -> Origin:
    """Each case for those who have its value, `default` for the others."""
    value = compiling.conditions.read(entry.switch, f"{path}.switch", scope)
    if value is None:
        return scope.origin
    key = compiling.draft.name(f"{title_of(entry)}.switch")
    cases = tuple(entry.cases)
    compiling.draft.add(Select(key=key, value=value, cases=cases, guards=scope.guards, place=f"{path}.switch"))
    origins = [
        compiling.write_within(steps, child(f"{path}.cases", name), scope.where(key, name))
        for name, steps in entry.cases.items()
    ]
    default = compiling.write_within(entry.default, f"{path}.default", scope.where(key, DEFAULT))
    return default.join(*origins)


def write_else(
    compiling: Compiling, entry: RecipeStep, path: str, scope: CompileScope, visiting: CompileScope
) -> Origin:
    """For those whom the step's condition has turned away."""
    if not entry.otherwise:
        return scope.origin
    if entry.when is None:
        compiling.draft.complain(scope, f"{path}.else", "there is no `when`: every item visits the step")
        return scope.origin
    for guard in visiting.guards[len(scope.guards) :]:
        scope = scope.where(guard.decision, False)
    return compiling.write_within(entry.otherwise, f"{path}.else", scope)
