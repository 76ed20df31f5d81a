"""Items on their way through programs of the benchmarks' null steps, images in hand: no store, no shard."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from configs.documents.fields import Item
from gpu_worker.walk.item_context import provenance_of
from gpu_worker.walk.item_path import ItemPath
from steps.contract import Frame
from steps.recipe.program import Program, Visit
from tests.support.fake_steps import PlainContext
from tests.support.null.recipes_at_random import brightness
from tests.support.null.steps import Color, color_of


class Walk:
    """An item's way. `colors`: fingerprint -> that of its image; `facts`: visit -> what was measured there."""

    def __init__(self, item: Item, program: Program) -> None:
        self.path, self.colors = ItemPath(item, program), dict[str, Color]()
        self.facts: dict[str, Mapping[str, Any]] = {}
        for visit in program.visits:
            if self.path.wants(visit):
                self._go_through(visit)
        self.path.finish()

    def _go_through(self, visit: Visit) -> None:
        item, before = visit.item(self.path.item), self.path.fingerprint
        image = None if before is None else Image.new("RGB", (1, 1), self.colors[before])
        (result,) = visit.step.run([Frame(item, image)], PlainContext())
        mark = provenance_of(visit, self.path.item, before, {}, lambda _: "")
        self.colors[mark.fingerprint] = color_of(result.image)
        measured = {} if visit.step.keeps_image else {"brightness": brightness(color_of(result.image))}
        self.facts[visit.id] = {**measured, **result.facts}
        self.path.visit(visit, mark, self.facts[visit.id])

    def told(self) -> dict[str, Any]:
        """What can be compared with what a reader of the recipe says."""
        path = self.path
        visits = [(visit.partition("~")[0], self.colors[mark]) for visit, mark in path.made.items()]
        if path.rejected is not None:
            return {"visits": visits, "rejected": reasons(path.rejected.reason)}
        assert path.fingerprint is not None
        return {
            "visits": visits,
            "rejected": None,
            "image": self.colors[path.fingerprint],
            "steps": {
                name: (self.colors[path.made[visit.id]], passed(path, name))
                for name, visit in path.state.visited.items()
            },
            "warnings": [reasons(text) for text in path.state.warnings],
        }


def passed(path: ItemPath, step_id: str) -> bool:
    """As conditions see it."""
    return path.standing(step_id).passed


def reasons(text: str) -> str:
    """The words of the gate's `because` alone."""
    last = text.rpartition("for this: ")[2]
    return "; ".join(part.partition(":")[0] for part in last.split("; "))
