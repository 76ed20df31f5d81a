"""A frame that does not fit the device's memory alone: what can be done for it, and what is said if nothing helps."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from configs.catalogues.models import ModelRef
from steps.contract import MemoryFallback, Step, StepContext


@dataclass(frozen=True, slots=True)
class Relieved:
    """A StepContext under another relief. Nobody else's context changes."""

    context: StepContext
    relief: MemoryFallback

    @property
    def device(self) -> str:
        return self.context.device

    def model(self, ref: ModelRef) -> Any:
        return self.context.model(ref)


def strongest_offered(wanted: MemoryFallback, step: Step, context: StepContext) -> MemoryFallback:
    """The relief wanted, or the strongest below it that the step has here: another worker may have had more."""
    if wanted is MemoryFallback.NONE:
        return wanted
    return max((relief for relief in step.reliefs(context) if relief <= wanted), default=MemoryFallback.NONE)


def stronger(than: MemoryFallback, step: Step, context: StepContext) -> list[MemoryFallback]:
    """The reliefs that are left to try, in order."""
    return sorted(relief for relief in set(step.reliefs(context)) if relief > than)


def does_not_fit(label: str, device: str, tried: Collection[MemoryFallback], error: str) -> str:
    """What to tell of an item for which nothing helped."""
    measures = {MemoryFallback.TILE: "in tiles", MemoryFallback.OFFLOAD: "with all that can wait kept off the device"}
    ways = ["alone", *(measures[relief] for relief in sorted(tried) if relief in measures)]
    return (
        f"{label}: the image does not fit in the memory of {device}, even {' and '.join(ways)}. Make it smaller "
        "(width and height of the step that makes it, or a resize before this step), choose a smaller model, or bring "
        f"a worker with a larger device; then retry the quarantined items. ({error})"
    )
