"""Entries of a recipe with their places, and what those share that write them down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from configs.documents.problems import child, did_you_mean
from configs.recipe.recipe import Gate, RecipeNode, leaves_of
from steps.recipe.conditions import Conditions
from steps.recipe.draft import ProgramDraft
from steps.recipe.scope import Changes, CompileScope, Origin


class Placed(NamedTuple):
    """An entry, and its path in the document."""

    entry: RecipeNode
    path: str


def placed(entries: Sequence[RecipeNode], path: str) -> list[Placed]:
    """Those of the list at this path."""
    return [Placed(entry, f"{path}[{place}]") for place, entry in enumerate(entries)]


def title_of(entry: RecipeNode) -> str:
    """What an entry is called in decisions and labels of seeds: its id, or that of its first step."""
    if isinstance(entry, Gate):
        return entry.id or "gate"
    if entry.id is not None:
        return entry.id
    return next((step.id for step in leaves_of([entry])), "branch")


@dataclass(frozen=True, slots=True)
class Compiling:
    """`write_list` writes entries one after the other; it returns where images may come from behind the last one."""

    draft: ProgramDraft
    conditions: Conditions
    write_list: Callable[[Sequence[Placed], CompileScope], Origin]

    def write_within(self, entries: Sequence[RecipeNode], path: str, scope: CompileScope) -> Origin:
        """The list at this path, which is one deeper than what it is in."""
        return self.write_list(placed(entries, path), scope.within())

    def check_changes(
        self, change: Changes, entries: Sequence[RecipeNode], path: str, whose: str, scope: CompileScope
    ) -> None:
        """Complains of parameters to change that are of no step among these. `whose`: who says so."""
        ids = {step.id for step in leaves_of(entries)}
        for name in change:
            if name not in ids:
                message = f"{whose} no step `{name}`{did_you_mean(name, ids)}"
                self.draft.complain(scope, child(f"{path}.change", name), message)
