"""The way of one item through its recipe, as values that can be printed, shown and counted."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from storage.ledger.records import ItemReport, JobRecord, Review, StepOutcome

Verdict = Literal["passed", "warned", "quarantined", "dropped", "accepted"]
Standing = Literal["computed", "reused", "failed", "waiting", "lost"]


def visit_label(step: str, attempt: int) -> str:
    """What people read of an item's visit of a step; `attempt` counts its visits from 1."""
    return f"{step}, attempt {attempt}" if attempt > 1 else step


@dataclass(slots=True)
class Visited:
    """The item came to a step.

    `standing`: `waiting`: it has no image of it (yet); `lost`: the ledger has forgotten its image. `attempt` counts the
    visits of this item to the step from 1. `changed` are parameters that differ from those of the step's first visit.
    `source` is the visit that made the image that went in. `counts`: it is on the way to the image that the item has.
    """

    place: str
    visit: str
    step: str
    attempt: int
    name: str  # in the catalogue
    standing: Standing
    entry: StepOutcome | None
    seed: int
    new_seed: bool  # another one than the item's
    changed: Mapping[str, Any]
    source: str | None = None
    counts: bool = False

    @property
    def label(self) -> str:
        return visit_label(self.step, self.attempt)


@dataclass(slots=True)
class Branched:
    """A condition, and the way behind it. `met` None: it cannot be told. `of`: the step whose `when` it is."""

    place: str
    of: str | None
    text: str
    seen: Mapping[str, Any]
    met: bool | None
    way: "list[Node]" = field(default_factory=list)


@dataclass(slots=True)
class Switched:
    """`case` None: none fitted, the default was taken."""

    place: str
    text: str
    seen: Mapping[str, Any]
    case: str | None
    way: "list[Node]" = field(default_factory=list)


@dataclass(slots=True)
class RequirementResult:
    """One requirement of a gate, and what it saw."""

    text: str
    gate: str | None
    because: str | None
    met: bool | None
    seen: Mapping[str, Any]


@dataclass(slots=True)
class Attempt:
    """The image made anew after a gate had rejected it, and what the gate then found. `number` counts from 2."""

    number: int
    start: str  # the step that it began with
    way: "list[Node]" = field(default_factory=list)
    checks: tuple[RequirementResult, ...] = ()
    met: bool | None = None


@dataclass(slots=True)
class Repaired:
    """Steps that mend the image, and what the gate then found."""

    way: "list[Node]" = field(default_factory=list)
    checks: tuple[RequirementResult, ...] = ()
    met: bool | None = None


@dataclass(slots=True)
class Gated:
    """A gate: what it found at first, the attempts after that, and what became of the item. `verdict` None: none yet.

    `dropped`: the item goes on without this candidate. `of`: the step that it belongs to.
    """

    place: str
    name: str
    of: str | None
    tries: int  # that the recipe allows, the first included
    checks: tuple[RequirementResult, ...]
    met: bool | None
    attempts: list[Attempt] = field(default_factory=list)
    repair: Repaired | None = None
    verdict: Verdict | None = None


@dataclass(slots=True)
class Turn:
    """One time of a loop. `met` says whether the loop's condition ended it; None: not asked (yet)."""

    number: int
    way: "list[Node]" = field(default_factory=list)
    seen: Mapping[str, Any] = field(default_factory=dict)
    met: bool | None = None


@dataclass(slots=True)
class Looped:
    place: str
    text: str  # its `until`
    most: int
    turns: list[Turn] = field(default_factory=list)


@dataclass(slots=True)
class Candidate:
    """`dropped`: why it is out of the running. `value` None: it lacks what candidates are compared by."""

    number: int
    way: "list[Node]" = field(default_factory=list)
    value: float | None = None
    seen: Mapping[str, Any] = field(default_factory=dict)
    scored: bool = False
    dropped: str | None = None


@dataclass(slots=True)
class Chosen:
    """`picked`: the number of the candidate that the item went on with."""

    place: str
    text: str  # what candidates are compared by
    most: int
    candidates: list[Candidate] = field(default_factory=list)
    picked: int | None = None


Node = Visited | Branched | Switched | Gated | Looped | Chosen


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the ledger knows of an item's way.

    `problems`: why the recipe cannot be followed here; the way is empty then. `unplaced` are outcomes in the ledger
    that have no place in the way: all of them, if it cannot be followed.
    """

    job: JobRecord
    report: ItemReport
    way: tuple[Node, ...]
    unplaced: Mapping[str, StepOutcome]  # by visit id
    reviews: tuple[Review, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def visits(self) -> Iterator[Visited]:
        """Of all attempts and candidates, in the order in which they were made."""
        return (node for node in nodes_of(self.way) if isinstance(node, Visited))

    def label(self, visit: str) -> str:
        """`base, attempt 2` for the item's second visit of `base`, whatever the recipe numbers it."""
        for made in self.visits:
            if made.visit == visit:
                return made.label
        return visit

    @property
    def gates(self) -> Iterator[Gated]:
        return (node for node in nodes_of(self.way) if isinstance(node, Gated))


def nodes_of(way: Iterable[Node]) -> Iterator[Node]:
    """All nodes, those within others included, in the order in which the item came to them."""
    for node in way:
        yield node
        for inner in ways_in(node):
            yield from nodes_of(inner)


def ways_in(node: Node) -> "Iterator[list[Node]]":
    """The ways within a node, in order."""
    match node:
        case Branched() | Switched():
            yield node.way
        case Gated():
            yield from (attempt.way for attempt in node.attempts)
            if node.repair is not None:
                yield node.repair.way
        case Looped():
            yield from (turn.way for turn in node.turns)
        case Chosen():
            yield from (candidate.way for candidate in node.candidates)
