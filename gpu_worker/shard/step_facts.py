"""Facts of a step's images: of those it makes, and of those that exist what nobody has measured yet."""

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from functools import partial

from PIL import Image

from configs.documents.fields import Item
from gpu_worker.monitor.failures import describe
from gpu_worker.shard.live_item import Facts, Made, RunningItem
from gpu_worker.shard.on_demand import OnDemand
from gpu_worker.shard.shard_work import ShardWork
from gpu_worker.shard.writer import Written
from gpu_worker.walk.foresight import unmeasured
from gpu_worker.walk.item_path import ItemError
from steps.contract import Fact, Frame, StepResult
from steps.facts import ALWAYS, measure
from steps.recipe.program import Visit
from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import DamagedObject, MissingObject, StoreError


class StepFacts:
    """Of one visit."""

    def __init__(self, work: ShardWork, visit: Visit) -> None:
        self._work, self._visit = work, visit

    def of_new(self, frame: Frame, result: StepResult) -> Facts:
        """Of the image that the step has made of this frame: at once if a later decision may wait for them."""
        measured = partial(_facts_of, result, ALWAYS | self._visit.facts, frame.image)
        if self._visit.id in self._work.program.awaited:
            return self._work.measurers.submit(measured)
        return OnDemand(measured)

    def completed(self, live: RunningItem, made: Made) -> Made:
        """What exists, once it has all facts that the recipe asks for: it may have been made for another one."""
        has_source = live.last is not None
        if not self._visit.facts or (
            made.facts.done() and not unmeasured(self._visit, made.facts.result(), has_source=has_source)
        ):
            return made
        facts = self._work.measurers.submit(self._measure_missing, live.path.item, made, live.last)
        return Made(made.written, facts, None)

    def _measure_missing(self, item: Item, made: Made, source: Written | None) -> Mapping[str, Fact]:
        """In a thread. Raises ItemError, and StoreError if the store does not answer."""
        facts, artefact = made.facts.result(), made.written.result()
        missing = self._visit.facts - facts.keys()
        if not missing:
            return facts
        try:
            image = self._image_of(item, artefact)
            before = None if source is None else self._image_of(item, source.result())
            found = measure(image, missing, source=before)
        except StoreError:
            raise
        except Exception as error:
            raise ItemError(f"its facts cannot be measured: {describe(error)}") from error
        complete = {**facts, **found}
        self._work.ledger.add_facts(artefact.root, artefact.fingerprint, complete)
        return complete

    def _image_of(self, item: Item, artefact: ArtefactRecord) -> Image.Image:
        """Raises MissingObject or DamagedObject after noting that the item has lost it."""
        try:
            return self._work.inputs.image(artefact)
        except (MissingObject, DamagedObject) as error:
            self._work.losses.add(item, artefact, damaged=isinstance(error, DamagedObject))
            raise


def _facts_of(result: StepResult, names: Collection[str], source: Image.Image | None) -> dict[str, Fact]:
    return {**measure(result.image, names, source=source), **result.facts}


def known_facts(facts: Mapping[str, Fact]) -> Facts:
    """Facts that need no measuring."""
    future: Facts = Future()
    future.set_result(facts)
    return future
