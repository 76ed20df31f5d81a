"""What another recipe makes of an item, and what many items need for it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from configs.documents.fields import Item
from steps.recipe.program import Program
from storage.ledger.records import ArtefactRecord, ItemReport, ItemState


class Change(StrEnum):
    """What another recipe makes of an item."""

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
class ItemStanding:
    """How an item ends, as far as that is known. `finals`: key -> fingerprint."""

    state: ItemState
    error: str | None = None
    error_step: str | None = None
    finals: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    refused_image: str | None = None  # as in ItemRecord
    refused_by: str | None = None


@dataclass(frozen=True, slots=True)
class Reevaluation:
    """An item under the new recipe.

    `ways` are its steps: visit id -> the image it has there already, None where it skips the step; to all but the
    `certain_ways` it may not come. `computes` (visit id -> fingerprint), `undecided` (visit ids) and `unmeasured` (fact
    -> visit ids) say what is missing. `standing` is how it would end, None where something is missing; then `expected`
    is its state if no step fails, None where that depends on what is missing.
    """

    item: Item  # as the new recipe sees it
    report: ItemReport  # as the ledger has it
    before: ItemStanding
    change: Change
    standing: ItemStanding | None
    ways: Mapping[str, ArtefactRecord | None]
    certain_ways: Mapping[str, ArtefactRecord | None]
    finals: Mapping[str, str] = field(default_factory=dict)  # visit id -> final key
    computes: Mapping[str, str] = field(default_factory=dict)
    undecided: tuple[str, ...] = ()
    unmeasured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expected: ItemState | None = None

    @property
    def reason(self) -> str | None:
        """Why it ends so, for people."""
        if self.standing is None:
            return None
        return self.standing.error or "; ".join(self.standing.warnings) or None


@dataclass(frozen=True, slots=True)
class StepNeed:
    """Items at a step that has to run for them: images to compute (once each, whoever shares them), and items of which
    only that will tell."""

    computed: int = 0
    undecided: int = 0


def needs_of(redecisions: Iterable[Reevaluation], new: Program) -> dict[str, StepNeed]:
    """What the items that change need computed, by visit id in recipe order."""
    computed: dict[str, set[str]] = {}
    undecided = Counter[str]()
    for each in redecisions:
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


def unmeasured_of(redecisions: Iterable[Reevaluation]) -> dict[str, int]:
    """Fact -> number of images on which the new recipe asks for it and nobody has measured it."""
    images: dict[str, set[str]] = {}
    for each in redecisions:
        for fact, visit_ids in each.unmeasured.items():
            known = (each.ways[visit_id] for visit_id in visit_ids)
            images.setdefault(fact, set()).update(artefact.fingerprint for artefact in known if artefact is not None)
    return {fact: len(images[fact]) for fact in sorted(images)}
