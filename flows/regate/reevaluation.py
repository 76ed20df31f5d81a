"""What another recipe makes of an item, and what many items need for it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from configs.documents.fields import Item
from steps.recipe.program import Program
from storage.ledger.records import ArtefactRecord, ItemReport, ItemResult, ItemState


class Change(StrEnum):
    """The effect of another recipe on an item."""

    UNCHANGED = "unchanged"
    QUARANTINED = "quarantined"
    DONE = "done"  # it was quarantined, or had failed
    FAILED = "failed"
    OTHER_FINALS = "other_finals"  # it is done either way
    OTHER_RECORD = "other_record"  # same end, same finals: other reason, warnings or names of steps
    TO_RUN = "to_run"  # steps have to compute images first
    TO_MEASURE = "to_measure"  # facts have to be measured first
    PENDING = "pending"  # it had not come to its end, and still has to

    @property
    def is_settled(self) -> bool:
        """Whether everything is known that the item's end needs."""
        return self not in (Change.TO_RUN, Change.TO_MEASURE, Change.PENDING)


@dataclass(frozen=True, slots=True)
class Reevaluation:
    """An item under the new recipe.

    `ways` are its steps: visit id -> the image it has there already, None where it skips the step; to all but the
    `certain_ways` it may not come. `computes` (visit id -> fingerprint), `undecided` (visit ids) and `unmeasured` (fact
    -> visit ids) name what is missing. `result` is how it would end, None where something is missing; then `expected`
    is its state if no step fails, None where that depends on what is missing.
    """

    item: Item  # as the new recipe sees it
    report: ItemReport  # as the ledger has it
    change: Change
    result: ItemResult | None
    ways: Mapping[str, ArtefactRecord | None]
    certain_ways: Mapping[str, ArtefactRecord | None]
    computes: Mapping[str, str] = field(default_factory=dict)
    undecided: tuple[str, ...] = ()
    unmeasured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expected: ItemState | None = None

    @property
    def reason(self) -> str | None:
        """Why it ends so, for people."""
        if self.result is None:
            return None
        return self.result.error or "; ".join(self.result.warnings) or None

    @property
    def finals(self) -> Mapping[str, str]:
        """Visit id -> final key, under the new recipe."""
        return self.result.finals if self.result is not None else {}

    @property
    def images(self) -> dict[str, str]:
        """Final key -> fingerprint, under the new recipe."""
        return final_images(self.finals, self.ways)

    @property
    def images_before(self) -> dict[str, str]:
        """Final key -> fingerprint, as the ledger has it."""
        return images_of(self.report)


def final_images(finals: Mapping[str, str], made: Mapping[str, ArtefactRecord | None]) -> dict[str, str]:
    """Return final key -> fingerprint of the finals (visit id -> key) whose artefacts are known (by visit id)."""
    return {key: image.fingerprint for visit, key in finals.items() if (image := made.get(visit)) is not None}


def images_of(report: ItemReport) -> dict[str, str]:
    """Return the same for an item as the ledger has it."""
    return final_images(report.record.finals, {visit: outcome.artefact for visit, outcome in report.steps.items()})


@dataclass(frozen=True, slots=True)
class StepNeed:
    """The work of a step for items that change.

    `computed` counts images, each once however many items share it; `undecided` counts items whose need depends on
    images that are still missing.
    """

    computed: int = 0
    undecided: int = 0


def needs_of(reevaluations: Iterable[Reevaluation], new: Program) -> dict[str, StepNeed]:
    """Return the steps that the items that change need, by visit id in recipe order."""
    computed: dict[str, set[str]] = {}
    undecided = Counter[str]()
    for each in reevaluations:
        if each.change is Change.UNCHANGED:
            continue
        for visit_id, fingerprint in each.computes.items():
            computed.setdefault(visit_id, set()).add(fingerprint)
        undecided.update(each.undecided)
    return {
        visit_id: StepNeed(len(computed.get(visit_id, ())), undecided[visit_id])
        for visit_id in new.step_ids
        if visit_id in computed or undecided[visit_id]
    }


def unmeasured_of(reevaluations: Iterable[Reevaluation]) -> dict[str, int]:
    """Return fact -> number of images that lack it although the new recipe reads it."""
    images: dict[str, set[str]] = {}
    for each in reevaluations:
        for fact, visit_ids in each.unmeasured.items():
            known = (each.ways[visit_id] for visit_id in visit_ids)
            images.setdefault(fact, set()).update(artefact.fingerprint for artefact in known if artefact is not None)
    return {fact: len(images[fact]) for fact in sorted(images)}
