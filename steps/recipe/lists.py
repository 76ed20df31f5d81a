"""Lists of a recipe: one entry after the other, of which a gate may send items back to an earlier one."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from configs.recipe.recipe import MAX_DEPTH, BestOf, Gate, Group, RecipeStep, Repeat, Switch
from steps.recipe.branches import write_else, write_group, write_switch
from steps.recipe.conditions import Conditions
from steps.recipe.draft import ProgramDraft
from steps.recipe.entries import Compiling, Placed, title_of
from steps.recipe.gates import Redo, write_gate, write_lone_gate
from steps.recipe.loops import write_best_of, write_repeat
from steps.recipe.program import Save
from steps.recipe.retries import Retries, Start, start_of_retry
from steps.recipe.scope import CompileScope, Origin
from steps.recipe.visits import Visits

_WRITERS: Mapping[type, Callable[[Compiling, Any, str, CompileScope], Origin]] = {
    Group: write_group,
    Switch: write_switch,
    Repeat: write_repeat,
    BestOf: write_best_of,
}


class Lists:
    """Writes lists of entries down, and all lists within them."""

    def __init__(self, draft: ProgramDraft, conditions: Conditions, visits: Visits) -> None:
        self._visits = visits
        self._compiling = Compiling(draft, conditions, self.write)
        self._retries = Retries(self._compiling, visits)

    def write(self, entries: Sequence[Placed], scope: CompileScope) -> Origin:
        """Returns where images may come from behind the last one."""
        draft = self._compiling.draft
        if entries and scope.depth > MAX_DEPTH:
            message = f"branches and loops are more than {MAX_DEPTH} deep: make two recipes of it"
            draft.complain(scope, entries[0].path, message)
            return scope.origin
        begins = [start_of_retry(self._compiling, entries[: place + 1], scope) for place in range(len(entries))]
        starts: dict[int, Start] = {}
        for place, (entry, path) in enumerate(entries):
            if place in begins:
                starts[place] = Start(draft.name(f"before {title_of(entry)}"), scope.origin)
                draft.add(Save(key=starts[place].saved, guards=scope.guards, place=path))
            begin, redo = begins[place], None
            if begin is not None:
                redo = partial(self._retries.write, entries[begin : place + 1], starts[begin])
            scope = scope.having(self._entry(entries[place], scope, redo))
        return scope.origin

    def _entry(self, placed: Placed, scope: CompileScope, redo: Redo | None) -> Origin:
        entry, path = placed
        if self._visits.are_too_many:
            return scope.origin
        if isinstance(entry, RecipeStep):
            return self._step(entry, path, scope, redo)
        if isinstance(entry, Gate):
            return write_lone_gate(self._compiling, entry, path, scope, redo)
        return _WRITERS[type(entry)](self._compiling, entry, path, scope)

    def _step(self, entry: RecipeStep, path: str, scope: CompileScope, redo: Redo | None) -> Origin:
        visiting = self._visits.write(entry, path, scope)
        turned_away = write_else(self._compiling, entry, path, scope, visiting)
        origin = visiting.origin
        if entry.require:
            origin = write_gate(self._compiling, entry, path, visiting, redo)
        elif entry.on_fail != "quarantine":
            message = "there is no `require`: say what the image has to meet"
            self._compiling.draft.complain(scope, f"{path}.on_fail", message)
        return origin.join(turned_away) if entry.otherwise else origin
