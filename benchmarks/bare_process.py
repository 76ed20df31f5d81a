"""The bare loop: a recipe's steps, one micro-batch after another, in one process: `python -m benchmarks.bare_process`.

A loop as written without Pixelmill: the same models from the same engines, the same micro-batches, images in
memory; no Prefect, no ledger, no store, no encoding. Facts are measured only where a later condition reads them.
A request is `{"job": path}`, a reply `{"seconds": …, "images": …}`; models are loaded when first used.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.resident import Message, serve
from configs.catalogues.catalogue import load_engine
from configs.catalogues.models import ModelCatalogue, ModelRef
from configs.documents.fields import Item
from configs.settings.settings import Settings, load_settings
from flows.job.plan import read_plan_request
from gpu_worker.device.device import choose_device
from gpu_worker.walk.item_path import ItemPath
from steps.contract import Frame, MemoryFallback, Step, StepContext
from steps.facts import measure
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import Provenance

NO_PROVENANCE = Provenance(step="", version=0, identity={}, models={}, inputs=(), fingerprint="")  # none is asked for


class BareContext:
    """A StepContext that loads a model when it is first asked for, and keeps it."""

    fallback = MemoryFallback.NONE

    def __init__(self, settings: Settings) -> None:
        self.device = choose_device(settings.device).kind
        self._models = ModelCatalogue(settings)
        self._loaded: dict[ModelRef, Any] = {}

    def model(self, ref: ModelRef) -> Any:
        if ref not in self._loaded:
            part = self._models.part(ref)
            self._loaded[ref] = load_engine(part.engine)(part.source, part.options, self.device)
        return self._loaded[ref]


@dataclass
class Traveler:
    """An item with the image it has by now."""

    path: ItemPath
    image: Image.Image | None = None


def take_through(
    visit: Visit, travelers: Sequence[Traveler], context: StepContext, limit: int, *, measured: bool
) -> None:
    """Gives a new image to those that visit the step, in micro-batches of `limit`; with its facts if `measured`."""
    visitors = {each.path.item.index: each for each in travelers if each.path.wants(visit)}
    frames = [Frame(each.path.item, each.image) for each in visitors.values()]
    for batch in _batches(visit.step, frames, limit):
        for frame, result in zip(batch, visit.step.run(batch, context), strict=True):
            traveler = visitors[frame.item.index]
            traveler.image = result.image
            facts = {**measure(result.image), **result.facts} if measured else None
            traveler.path.visit(visit, NO_PROVENANCE, facts)


def steps_read(program: Program) -> set[str]:
    """Ids of the steps whose facts a condition reads."""
    return {name[1] for each in program.decisions for name in each.condition.names if name[0] == "facts"}


def run_bare(
    items: Sequence[Item], program: Program, context: StepContext, settings: Settings
) -> list[Image.Image | None]:
    """The last image of each item. Chunks as a worker's, because they decide which items share a micro-batch."""
    images: list[Image.Image | None] = []
    read = steps_read(program)
    for start in range(0, len(items), settings.chunk_size):
        chunk = [Traveler(ItemPath(item, program)) for item in items[start : start + settings.chunk_size]]
        for visit in program.visits:
            take_through(visit, chunk, context, settings.micro_batch, measured=visit.step_id in read)
        images += [traveler.image for traveler in chunk]
    return images


def _batches(step: Step, frames: Sequence[Frame], limit: int) -> Iterator[list[Frame]]:
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(step.batch_key(frame), []).append(frame)
    for group in groups.values():
        for start in range(0, len(group), limit):
            yield group[start : start + limit]


def prepare() -> Callable[[Message], Message]:
    settings = load_settings()
    context = BareContext(settings)

    def answer(request: Message) -> Message:
        job = read_plan_request(Path(request["job"]), settings)
        started = time.perf_counter()
        images = run_bare(job.items, job.program, context, settings)
        return {"seconds": time.perf_counter() - started, "images": len(images)}

    return answer


if __name__ == "__main__":
    serve(prepare)
