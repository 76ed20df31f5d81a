"""Which steps an item may visit, from its own values alone: before any work, and with the mistakes that show then."""

from dataclasses import dataclass
from typing import Any

from configs.conditions import ITEM_NAMES
from configs.documents.fields import Item
from configs.documents.problems import Problem
from gpu_worker.walk.item_path import ItemPath, MistakenCondition
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import Provenance

_SOME_IMAGE = Provenance(step="", version=0, identity={}, models={}, inputs=(), fingerprint="")


@dataclass(frozen=True, slots=True)
class Outlook:
    """The visits that are possible, each with whether it is certain; and conditions that cannot be evaluated."""

    visits: tuple[tuple[Visit, bool], ...]
    mistakes: tuple[Problem, ...]


class Prospect:
    """Outlooks of many items: those that look alike to all conditions share one."""

    def __init__(self, program: Program) -> None:
        self._program = program
        names = {name for _, condition in program.conditions() for name in condition.names}
        self._names = sorted(name for name in names if name[0] in ("item", "vars"))
        self._known: dict[tuple[Any, ...], Outlook] = {}

    def of(self, item: Item) -> Outlook:
        key = tuple(_value(name, item) for name in self._names)
        if key not in self._known:
            self._known[key] = self._walk(item)
        return self._known[key]

    def _walk(self, item: Item) -> Outlook:
        path = ItemPath(item, self._program)
        visits: list[tuple[Visit, bool]] = []
        try:
            for visit in self._program.visits:
                wanted = path.wants(visit)
                if wanted is not False:
                    visits.append((visit, wanted is True))
                    path.visit(visit, _SOME_IMAGE, None, certain=wanted is True)
            path.finish()
        except MistakenCondition as mistake:
            return Outlook(tuple(visits), (Problem(mistake.place, mistake.message),))
        return Outlook(tuple(visits), ())


def _value(name: tuple[str, ...], item: Item) -> tuple[type, Any]:
    value = ITEM_NAMES[name[1]](item) if name[0] == "item" else item.vars.get(name[1], _Absent)
    return type(value), value


class _Absent:
    pass
