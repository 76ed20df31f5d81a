"""Loops, written out: the same steps again until a condition holds, and several candidates of which one goes on."""

from dataclasses import replace

from configs.recipe.recipe import BestOf, Repeat
from steps.recipe.entries import Compiling, title_of
from steps.recipe.program import Pick, Return, Save, Score
from steps.recipe.scope import CompileScope, Origin


def write_repeat(compiling: Compiling, entry: Repeat, path: str, scope: CompileScope) -> Origin:
    """Each time is for those for whom the condition did not hold the time before."""
    draft, name = compiling.draft, title_of(entry)
    saved = draft.name(f"before {name}")
    if entry.start == "same":
        draft.add(Save(key=saved, guards=scope.guards, place=path))
    staying, leaving = scope, list[Origin]()
    for number in range(1, entry.repeat + 1):
        if number > 1 and entry.start == "same":
            draft.add(Return(key=saved, guards=staying.guards, place=path))
            staying = staying.having(scope.origin)
        inner = _time(compiling, entry, path, staying, number)
        inner = inner.having(compiling.write_within(entry.steps, f"{path}.steps", inner))
        until = compiling.conditions.read(entry.until, f"{path}.until", inner)
        if until is None:
            return inner.origin
        key = draft.decide(f"{name}.until", until, staying, f"{path}.until")
        staying = staying.where(key, False).having(inner.origin)
        leaving.append(inner.origin)
    return leaving[0].join(*leaving[1:])


def write_best_of(compiling: Compiling, entry: BestOf, path: str, scope: CompileScope) -> Origin:
    """Each candidate begins with the image that was there before, and ends with its value."""
    draft = compiling.draft
    key = draft.name(f"best of {title_of(entry)}")
    draft.add(Save(key=key, guards=scope.guards, place=path))
    origins = list[Origin]()
    for number in range(1, entry.best_of + 1):
        if number > 1:
            draft.add(Return(key=key, guards=scope.guards, place=path))
        inner = replace(_time(compiling, entry, path, scope, number), candidate_of=key)
        inner = inner.having(compiling.write_within(entry.steps, f"{path}.steps", inner))
        by = compiling.conditions.read(entry.by, f"{path}.by", inner)
        if by is None:
            return inner.origin
        draft.add(Score(key=key, candidate=number, by=by, guards=scope.guards, place=f"{path}.by"))
        origins.append(inner.origin)
    draft.add(Pick(key=key, candidate_of=scope.candidate_of, guards=scope.guards, place=path))
    return origins[0].join(*origins[1:])


def _time(compiling: Compiling, entry: Repeat | BestOf, path: str, scope: CompileScope, number: int) -> CompileScope:
    """Within the loop for the `number`th time, from 1."""
    loops = scope.loops.time(title_of(entry), number, new_seed=entry.seed == "new", change=entry.change)
    inner = scope.once_more(loops, number)
    compiling.check_changes(entry.change, entry.steps, path, "the loop has", inner)
    return inner
