"""The trace of an item's walk through a program: each node records what it decided. An explanation prints it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from steps.recipe.program import Visit
from storage.ledger.records import StepOutcome

GateVerdict = Literal["passed", "warned", "quarantined", "dropped", "accepted"]
VisitState = Literal["computed", "reused", "failed", "waiting", "lost"]


@dataclass(slots=True)
class Visited:
    """The item came to a step; `attempt` counts its visits of the step from 1.

    `before` and `made` are fingerprints of the image that went in and the one that came out; `made` is None if the walk
    ended here without one. An explanation adds the rest: the recorded outcome, the visit that made the image that went
    in, parameters that differ from those of the step's first visit, and whether the item's image was made of this one.
    State `waiting`: there is no image (yet); `lost`: the ledger has forgotten it.
    """

    by: Visit
    attempt: int
    seed: int
    before: str | None
    made: str | None
    state: VisitState = "waiting"
    entry: StepOutcome | None = None
    new_seed: bool = False  # another one than the item's, for a step that reads it
    source: str | None = None
    changed: Mapping[str, Any] = field(default_factory=dict)
    counts: bool = False

    @property
    def visit(self) -> str:
        return self.by.id

    @property
    def step(self) -> str:
        return self.by.step_id

    @property
    def label(self) -> str:
        return visit_label(self.step, self.attempt)


@dataclass(slots=True)
class Branched:
    """A condition, and the path behind it. `met` is None if unknown; `of` the step whose `when` it is."""

    path: str
    of: str | None
    text: str
    seen: Mapping[str, Any]
    met: bool | None
    way: "list[TraceNode]" = field(default_factory=list)


@dataclass(slots=True)
class Switched:
    """The case of a value; `case` is None if none fitted and the default was taken."""

    path: str
    text: str
    seen: Mapping[str, Any]
    case: str | None
    way: "list[TraceNode]" = field(default_factory=list)


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
    """The image made again after a gate rejected it, and what the gate then found. `number` counts from 2."""

    number: int
    start: str  # the step that it began with
    way: "list[TraceNode]" = field(default_factory=list)
    checks: tuple[RequirementResult, ...] = ()
    met: bool | None = None


@dataclass(slots=True)
class Repaired:
    """Steps that mend the image, and what the gate then found."""

    way: "list[TraceNode]" = field(default_factory=list)
    checks: tuple[RequirementResult, ...] = ()
    met: bool | None = None


@dataclass(slots=True)
class Gated:
    """A gate: its first result, the attempts after that, and the verdict, or None without one yet.

    `dropped`: the item goes on without this candidate. `of`: the step that the gate belongs to. `tries`: how often the
    recipe lets the image be made.
    """

    path: str
    name: str
    of: str | None
    tries: int
    checks: tuple[RequirementResult, ...] = ()
    met: bool | None = None
    attempts: list[Attempt] = field(default_factory=list)
    repair: Repaired | None = None
    verdict: GateVerdict | None = None


@dataclass(slots=True)
class Turn:
    """One pass of a loop. `met`: whether the loop's condition ended it; None if it was not decided (yet)."""

    number: int
    way: "list[TraceNode]" = field(default_factory=list)
    seen: Mapping[str, Any] = field(default_factory=dict)
    met: bool | None = None


@dataclass(slots=True)
class Looped:
    """The passes of a loop until `text` held; `most` is how many the recipe allows."""

    path: str
    text: str
    most: int
    turns: list[Turn] = field(default_factory=list)


@dataclass(slots=True)
class Candidate:
    """A candidate; `dropped` is why it dropped out, `value` None if it lacks what candidates are compared by."""

    number: int
    way: "list[TraceNode]" = field(default_factory=list)
    value: float | None = None
    seen: Mapping[str, Any] = field(default_factory=dict)
    scored: bool = False
    dropped: str | None = None


@dataclass(slots=True)
class Chosen:
    """The candidates compared by `text`; `picked` is the number of the one that the item went on with."""

    path: str
    text: str
    most: int
    candidates: list[Candidate] = field(default_factory=list)
    picked: int | None = None


TraceNode = Visited | Branched | Switched | Gated | Looped | Chosen


def visit_label(step: str, attempt: int) -> str:
    """Return the name of an item's visit of a step for people; `attempt` counts its visits from 1."""
    return f"{step}, attempt {attempt}" if attempt > 1 else step


def nodes_of(way: Iterable[TraceNode]) -> Iterator[TraceNode]:
    """Yield all nodes, those within others included, in the order in which the item came to them."""
    for node in way:
        yield node
        for inner in _ways_in(node):
            yield from nodes_of(inner)


def _ways_in(node: TraceNode) -> Iterator[list[TraceNode]]:
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


def trim(way: list[TraceNode]) -> None:
    """Remove what a walk that could not go on had entered without recording anything in it."""
    match way[-1] if way else None:
        case Branched(way=inner) | Switched(way=inner):
            trim(inner)
        case Gated(repair=Repaired(checks=()) as repair) as gated:
            trim(repair.way)
            gated.repair = repair if repair.way else None
        case Gated(attempts=[*_, last]):
            trim(last.way)
        case Looped(turns=[*_, Turn(met=None) as turn]) as looped:
            trim(turn.way)
            if not turn.way:
                looped.turns.pop()
            if not looped.turns:
                way.pop()
        case Chosen(candidates=[*_, Candidate(scored=False, dropped=None) as candidate]) as chosen:
            trim(candidate.way)
            if not candidate.way:
                chosen.candidates.pop()
            if not chosen.candidates:
                way.pop()
