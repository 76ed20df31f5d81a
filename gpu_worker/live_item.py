"""An item on its way through a shard, and the chunk it travels in."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from PIL import Image

from gpu_worker.item_path import ItemPath
from gpu_worker.writer import End, Written
from steps.contract import Fact
from steps.resolve import ResolvedStep
from storage.png_recipe import StepMark
from storage.records import ItemState

Facts = Future[Mapping[str, Fact]]


@dataclass(frozen=True, slots=True)
class Made:
    """An image that this shard made or found, and how to have it: items of the same fingerprint share it."""

    written: Written
    facts: Facts
    image: Image.Image | None  # None: in the store only


@dataclass(slots=True)
class LiveItem:
    """A path with its images. `alive` until the item has ended or waits for another round."""

    path: ItemPath
    image: Image.Image | None = None  # what the next step gets; None: not made yet, or to be read from the store
    written: dict[str, Written] = field(default_factory=dict)  # step id -> its image
    measuring: dict[str, Facts] = field(default_factory=dict)  # step id -> facts to come
    alive: bool = True

    @property
    def last(self) -> Written | None:
        """The image of the last step visited."""
        return next(reversed(self.written.values()), None)

    def visit(self, step: ResolvedStep, mark: StepMark, made: Made) -> None:
        self.path.visit(step, mark, None)
        self.measuring[step.id] = made.facts
        self.written[step.id] = made.written
        self.image = made.image

    def settle_facts(self) -> None:
        """Waits for the facts of the steps visited. Raises what measuring raised."""
        while self.measuring:
            step_id, facts = next(iter(self.measuring.items()))
            self.path.facts[step_id] = facts.result()
            del self.measuring[step_id]

    def end(self) -> End:
        """How the item ends when no step is left."""
        if not self.written:
            return End(
                self.path.item.name,
                ItemState.FAILED,
                error="no step made an image: every condition was false for this item; change a `when`",
            )
        return End(self.path.item.name, ItemState.DONE, self.written)

    def failed(self, step_id: str, error: str, *, quarantined: bool = False) -> End:
        """`quarantined`: another try as things are would fail as well."""
        self.alive, self.image = False, None
        state = ItemState.QUARANTINED if quarantined else ItemState.FAILED
        return End(self.path.item.name, state, error=error, error_step=step_id)


@dataclass(slots=True)
class Chunk:
    """Items that go through a step together: one task run per step."""

    label: str
    items: list[LiveItem]

    @property
    def alive(self) -> list[LiveItem]:
        return [item for item in self.items if item.alive]
