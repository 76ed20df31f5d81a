"""A recipe as a straight line of operations: every branch a guard, every loop written out.

That bounds the way of each item before any work, lets chunks of items share each visit whatever their ways are, and
makes a decision a value that can be explained and taken again from stored facts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from configs.conditions import Condition
from configs.documents.fields import MAX_SEED, Item
from steps.contract import Step


@dataclass(frozen=True, slots=True)
class ResolvedStep:
    """A step of a recipe, its parameters checked. `name` is the step's in the catalogue."""

    id: str
    name: str
    step: Step
    when: Condition | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """An operation concerns an item for which this decision came out so. One that was never taken came out not."""

    decision: str
    value: bool | str = True


Guards = tuple[Guard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`place` is where the recipe says it, such as `steps[2].when`."""

    guards: Guards = ()
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit(Operation):
    """The item goes through a step.

    `id` is the recipe's id of the step for its first visit, `id~2` for the next and so on. `seeds` tells the visits of
    a loop apart whose seeds differ: empty for the item's own seed. `facts` are those to be measured that are not
    measured on every image.
    """

    id: str
    step_id: str
    name: str
    step: Step
    seeds: str = ""
    facts: frozenset[str] = frozenset()

    @property
    def is_again(self) -> bool:
        """Whether a loop wrote it: most items do not come here, and nothing is said of them."""
        return self.id != self.step_id

    def item(self, item: Item) -> Item:
        """The item as this visit sees it."""
        return item if not self.seeds else item.model_copy(update={"seed": derived_seed(item.seed, self.seeds)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide(Operation):
    """Whether a condition holds."""

    key: str
    condition: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(Operation):
    """Which case a value is. `default` if none."""

    key: str
    value: Condition
    cases: tuple[str, ...]


DEFAULT = ""  # decision of a Select: no case fits


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition of a gate, with what to say when it is false. `gate` is its name, if it has one."""

    condition: Condition
    because: str | None = None
    gate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Operation):
    """Whether the image meets all conditions of a gate. `of`: the step that the gate belongs to, if it does."""

    key: str
    name: str
    requirements: tuple[Requirement, ...]
    of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(Operation):
    """The item ends in quarantine for what the test found; a candidate of `best_of` only drops out."""

    test: str
    candidate_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn(Operation):
    """The item goes on, and its report says what the test found."""

    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Save(Operation):
    """Remembers how far the item is."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Return(Operation):
    """Goes back to what was saved."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Operation):
    """The end of a candidate: remembers it with its value."""

    key: str
    candidate: int
    by: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick(Operation):
    """Goes on with the candidate of the highest value. If all have dropped out, so does the item."""

    key: str
    candidate_of: str | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """What an item goes through, in order."""

    operations: tuple[Operation, ...]
    visits: tuple[Visit, ...] = field(init=False)
    positions: dict[str, int] = field(init=False)  # visit id -> place in `operations`
    awaited: frozenset[str] = field(init=False)  # visits whose facts a later decision may wait for
    asks_at_end: bool = field(init=False)  # whether there are decisions over facts behind the last visit
    _asking: frozenset[str] = field(init=False)  # visits with decisions over facts between them and the one before

    def __post_init__(self) -> None:
        places = [(place, each) for place, each in enumerate(self.operations) if isinstance(each, Visit)]
        object.__setattr__(self, "visits", tuple(visit for _, visit in places))
        object.__setattr__(self, "positions", {visit.id: place for place, visit in places})
        asking, before, awaited, seen = set[str](), False, set[str](), set[str]()
        for each in self.operations:
            if isinstance(each, Visit):
                asking |= {each.id} if before else set()
                seen.add(each.id)
                before = False
            elif any(not condition.is_static for _, condition in _conditions(each)):
                before, awaited = True, set(seen)
        object.__setattr__(self, "asks_at_end", before)
        object.__setattr__(self, "awaited", frozenset(awaited))
        object.__setattr__(self, "_asking", frozenset(asking))

    def asks_before(self, visit: Visit) -> bool:
        """Whether decisions between the visit before and this one read facts, which have to be measured then."""
        return visit.id in self._asking

    @property
    def step_ids(self) -> tuple[str, ...]:
        """Ids of the visits, in order."""
        return tuple(visit.id for visit in self.visits)

    def conditions(self) -> tuple[tuple[str, Condition], ...]:
        """All that items are judged by, with where the recipe says it."""
        return tuple(found for each in self.operations for found in _conditions(each))


def _conditions(operation: Operation) -> list[tuple[str, Condition]]:
    match operation:
        case Decide(condition=condition) | Select(value=condition) | Score(by=condition):
            return [(operation.place, condition)]
        case Check(requirements=requirements):
            return [(f"{operation.place}[{place}]", one.condition) for place, one in enumerate(requirements)]
    return []


def describe_operation(operation: Operation) -> list[Any]:
    """What of it decides images, as JSON values: no places, and no words for people."""
    fields = {
        name: getattr(operation, name)
        for name in operation.__dataclass_fields__
        if name not in ("place", "step", "guards", "name", "of")
    }
    described: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Condition):
            described[name] = value.text
        elif name == "requirements":
            described[name] = [one.condition.text for one in value]
        else:
            described[name] = sorted(value) if isinstance(value, frozenset) else value
    if isinstance(operation, Visit):
        described |= {"step": operation.name, "version": operation.step.version}
        described["parameters"] = operation.step.model_dump(mode="json")
        del described["facts"]
    guards = [[guard.decision, guard.value] for guard in operation.guards]
    kind = "Test" if isinstance(operation, Check) else type(operation).__name__  # revisions in ledgers have that word
    return [kind, guards, described]


def straight(steps: Sequence[ResolvedStep]) -> Program:
    """The program of a recipe without branches and loops but the steps' own conditions."""
    operations: list[Operation] = []
    for step in steps:
        guards: Guards = ()
        if step.when is not None:
            operations.append(Decide(key=step.id, condition=step.when))
            guards = (Guard(step.id),)
        operations.append(Visit(id=step.id, step_id=step.id, name=step.name, step=step.step, guards=guards))
    return Program(tuple(operations))


def derived_seed(seed: int, label: str) -> int:
    """Another seed for another visit: the same for the same seed and label on every machine."""
    import hashlib

    digest = hashlib.sha256(f"{seed}\n{label}".encode()).digest()
    return int.from_bytes(digest[:8], "big") & MAX_SEED
