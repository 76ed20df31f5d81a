"""The way of an item through a recipe, and the decisions on it. Pure; loads no torch.

The worker walks it with the images, `foresight` without, and `replay` once more from what the ledger knows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from configs.conditions import THIS, Condition, ConditionError, Scope, StepStanding
from configs.documents.fields import Item
from configs.reporting import PixelmillError
from steps.contract import Fact
from steps.recipe.program import (
    DEFAULT,
    Check,
    Decide,
    Guards,
    Operation,
    Pick,
    Program,
    Reject,
    Return,
    Save,
    Score,
    Select,
    Visit,
    Warn,
)
from storage.images.png_recipe import Provenance

Decision = bool | str | None  # None: depends on facts that are not known yet
NO_IMAGE = "no step made an image: every condition was false for this item; change a `when`"


class ItemError(PixelmillError):
    """The item cannot take this step. The message says what to change."""


class MistakenCondition(ItemError):
    """A condition of the recipe cannot be evaluated for this item. `place`: where the recipe has it."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place, self.message = place, message


class Rejection(NamedTuple):
    """Why an item may not go on: the gate (or step) and what it found."""

    gate: str
    step_id: str | None  # of the image
    reason: str


class Noted(NamedTuple):
    """One operation that concerned the item, for those who want to know its way.

    `met`: of a test, whether each requirement is. `image`: fingerprint of the image that the item had before it.
    """

    operation: Operation
    outcome: Decision
    seen: Mapping[str, Any]  # names in its conditions -> values
    reasons: tuple[str, ...] = ()
    met: tuple[bool | None, ...] = ()
    image: str | None = None


class _State(NamedTuple):
    """How far an item is, apart from what is known of it."""

    marks: tuple[Provenance, ...]
    visited: Mapping[str, Visit]
    passed: Mapping[str, bool]
    warnings: tuple[str, ...]


class _Candidate(NamedTuple):
    value: float
    number: int
    state: _State


@dataclass(slots=True)
class ItemPath:
    """How far an item has come in a program.

    `accepted` are fingerprints of images that a person has accepted: no gate rejects them. `notes`, if it is a list,
    takes down every decision.
    """

    item: Item
    program: Program
    accepted: frozenset[str] = frozenset()
    notes: list[Noted] | None = None
    marks: tuple[Provenance, ...] = ()  # of the steps that made the image that the item has now, in order
    visited: dict[str, Visit] = field(default_factory=dict)  # step id -> its visit that counts, in order
    made: dict[str, str] = field(default_factory=dict)  # visit id -> fingerprint, of all visits, in order
    facts: dict[str, Mapping[str, Fact]] = field(default_factory=dict)  # visit id -> facts, as far as they are known
    decisions: dict[str, Decision] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    rejected: Rejection | None = None
    undecided: bool = False  # from here on it depends on facts that are not known
    _position: int = 0
    _findings: dict[str, Rejection] = field(default_factory=dict)  # by test
    _passed: dict[str, bool] = field(default_factory=dict)  # by step id
    _unsure: set[str] = field(default_factory=set)  # step ids of which conditions cannot know how the item stands
    _saved: dict[str, _State] = field(default_factory=dict)
    _candidates: dict[str, list[_Candidate]] = field(default_factory=dict)
    _out: tuple[str, Rejection] | None = None  # the group of candidates of which this one has dropped out, and why

    @property
    def fingerprint(self) -> str | None:
        """Of the image that the item has now; None before the first."""
        return self.marks[-1].fingerprint if self.marks else None

    def wants(self, visit: Visit) -> bool | None:
        """Takes all decisions up to the visit. Returns whether the item goes through it.

        None if that depends on facts that are not known yet. Never true once the item is rejected. Raises ItemError.
        """
        self._advance(self.program.positions[visit.id])
        if self.rejected or self._out:
            return False
        return False if (met := self._met(visit.guards)) is False else None if self.undecided else met

    def finish(self) -> None:
        """Takes the decisions behind the last visit. Raises ItemError."""
        self._advance(len(self.program.operations))

    def visit(self, visit: Visit, mark: Provenance, facts: Mapping[str, Fact] | None, *, certain: bool = True) -> None:
        """Goes through the step, or is taken to if that is not certain. `facts` None: not known (yet)."""
        if self.notes is not None:
            self.notes.append(Noted(visit, True, {}, image=self.fingerprint))
        if not certain:
            self._unsure.add(visit.step_id)
        if not visit.step.keeps_image:
            self.marks = (*self.marks, mark)
        self.visited.pop(visit.step_id, None)
        self.visited[visit.step_id] = visit
        self.made[visit.id] = mark.fingerprint
        if facts is not None:
            self.facts[visit.id] = facts

    def images(self) -> Iterator[tuple[str, str]]:
        """(visit id, fingerprint) of the images that the item has been made of, the newest last."""
        for visit in self.visited.values():
            if not visit.step.keeps_image:
                yield visit.id, self.made[visit.id]

    def copy(self) -> Self:
        """A path that can be walked on without moving this one."""
        return type(self)(
            self.item,
            self.program,
            self.accepted,
            None if self.notes is None else list(self.notes),
            self.marks,
            dict(self.visited),
            dict(self.made),
            dict(self.facts),
            dict(self.decisions),
            list(self.warnings),
            self.rejected,
            self.undecided,
            self._position,
            dict(self._findings),
            dict(self._passed),
            set(self._unsure),
            dict(self._saved),
            {key: list(candidates) for key, candidates in self._candidates.items()},
            self._out,
        )

    # -- decisions ---------------------------------------------------------------------------------------------------
    def _advance(self, position: int) -> None:
        operations = self.program.operations
        while self._position < position and self.rejected is None:
            operation = operations[self._position]
            if not isinstance(operation, Visit) and self._concerns(operation):
                _TAKE[type(operation)](self, operation)
            self._position += 1

    def _concerns(self, operation: Operation) -> bool:
        if self._out is not None:
            if not isinstance(operation, Return | Pick) or operation.key != self._out[0]:
                return False
            if isinstance(operation, Return):
                self._out = None
        met = self._met(operation.guards)
        if met is None and not isinstance(operation, Decide | Select | Check | Warn):
            self.undecided = True  # who knows what it would have changed
        return met is not False

    def _met(self, guards: Guards) -> bool | None:
        met: bool | None = True
        for guard in guards:
            if guard.decision not in self.decisions:
                return False
            decision = self.decisions[guard.decision]
            if decision is None:
                met = None
            elif decision != guard.value:
                return False
        return met

    def _decide(self, operation: Decide) -> None:
        decision = self._holds(operation.condition, operation.place)
        self.decisions[operation.key] = decision
        self._note(operation, decision, (operation.condition,))

    def _select(self, operation: Select) -> None:
        if self._is_open(operation.value):
            self.decisions[operation.key] = None
            return
        try:
            value = operation.value.value(self._scope(operation.value))
        except ConditionError as error:
            raise MistakenCondition(operation.place, str(error)) from error
        text = _as_case(value)
        self.decisions[operation.key] = text if text in operation.cases else DEFAULT
        self._note(operation, self.decisions[operation.key], (operation.value,))

    def _test(self, operation: Check) -> None:
        verdict: bool | None = True
        found: list[bool | None] = []
        reasons = []
        for place, one in enumerate(operation.requirements):
            met = self._holds(one.condition, f"{operation.place}[{place}]")
            found.append(met)
            if met is False:
                reasons.append(self._reason(one.condition, one.because))
            verdict = False if met is False or verdict is False else None if met is None else verdict
        self.decisions[operation.key] = verdict
        if operation.of is not None:
            self._judge(operation.of, verdict)
        step = operation.of or next(reversed(self.visited), None)
        self._findings[operation.key] = Rejection(operation.name, step, "; ".join(reasons))
        conditions = tuple(one.condition for one in operation.requirements)
        self._note(operation, verdict, conditions, tuple(reasons), tuple(found))

    def _judge(self, step_id: str, verdict: bool | None) -> None:
        if verdict is None:
            self._unsure.add(step_id)
        else:
            self._passed[step_id] = verdict

    def _reason(self, condition: Condition, because: str | None) -> str:
        seen = ", ".join(f"{name} is {_shown(value)}" for name, value in condition.seen(self._scope(condition)).items())
        return f"{because}: " * bool(because) + f"{condition.text} is not met" + f" ({seen})" * bool(seen)

    def _reject(self, operation: Reject) -> None:
        finding = self._findings[operation.test]
        if self.undecided or self.decisions[operation.test] is None:
            self.undecided = True
        elif self.fingerprint in self.accepted:
            self.warnings.append(f"{finding.reason}; accepted in review")
            self._note(operation, None, (), (finding.reason, "accepted in review"))
        else:
            self._note(operation, True, (), (finding.reason,))
            self._drop_out(operation.candidate_of, finding)

    def _drop_out(self, candidate_of: str | None, finding: Rejection) -> None:
        if candidate_of is None:
            self.rejected = finding
        else:
            self._out = (candidate_of, finding)

    def _warn(self, operation: Warn) -> None:
        if self._met(operation.guards):
            reason = self._findings[operation.test].reason
            self.warnings.append(reason)
            self._note(operation, True, (), (reason,))

    def _save(self, operation: Save) -> None:
        self._saved[operation.key] = self._state()

    def _return(self, operation: Return) -> None:
        if not self.undecided:
            self._go_to(self._saved[operation.key])
            self._note(operation, True, ())

    def _state(self) -> _State:
        return _State(self.marks, dict(self.visited), dict(self._passed), tuple(self.warnings))

    def _go_to(self, state: _State) -> None:
        self.marks, self.visited = state.marks, dict(state.visited)
        self._passed, self.warnings = dict(state.passed), list(state.warnings)

    def _score(self, operation: Score) -> None:
        if self.undecided or self._is_open(operation.by):
            self.undecided = True
            return
        try:
            value = operation.by.value(self._scope(operation.by))
        except ConditionError as error:
            raise MistakenCondition(operation.place, str(error)) from error
        if value is not None and not isinstance(value, int | float):
            raise MistakenCondition(
                operation.place, f"`{operation.by.text}` is {value!r}, and candidates need a number"
            )
        rank = float("-inf") if value is None else float(value)
        candidate = _Candidate(rank, operation.candidate, self._state())
        self._candidates.setdefault(operation.key, []).append(candidate)
        self._note(operation, str(value), (operation.by,))

    def _pick(self, operation: Pick) -> None:
        out, self._out = self._out, None
        if self.undecided:
            return
        candidates = self._candidates.pop(operation.key, [])
        if candidates:
            best = max(candidates, key=lambda each: (each.value, -each.number))
            self._go_to(best.state)
            self._note(operation, str(best.number), ())
        else:
            assert out is not None, "a candidate that ends without a value has dropped out"
            reason = f"no candidate was left, the last one for this: {out[1].reason}"
            self._note(operation, False, (), (reason,))
            self._drop_out(operation.candidate_of, out[1]._replace(reason=reason))

    def _holds(self, condition: Condition, place: str) -> bool | None:
        try:
            if self._is_open(condition):
                return condition.foresee(self.item)
            return condition.holds(self._scope(condition))
        except ConditionError as error:
            raise MistakenCondition(place, str(error)) from error

    def _is_open(self, condition: Condition) -> bool:
        """Whether it reads what is not known yet."""
        if condition.is_static:
            return False
        if self.undecided:
            return True
        for name in condition.names:
            if name[0] == "facts":
                visits = self._newest() if name[1] == THIS else [self.visited.get(name[1])]
                if any(visit is not None and visit.id not in self.facts for visit in visits):
                    return True
            elif name[0] == "steps" and name[1] in self._unsure:
                return True
        return False

    def _scope(self, condition: Condition) -> Scope:
        """As much of it as the condition reads."""
        facts: dict[str, Mapping[str, Fact]] = {}
        steps: dict[str, StepStanding] = {}
        for name in condition.names:
            if name[0] == "facts" and name[1] == THIS:
                newest = [self.facts.get(visit.id, {}) for visit in self._newest()]
                facts[THIS] = {fact: value for measured in newest for fact, value in measured.items()}
            elif name[0] in ("facts", "steps") and name[1] in self.visited:
                facts[name[1]] = self.facts.get(self.visited[name[1]].id, {})
                steps[name[1]] = self._standing(name[1])
        return Scope(self.item, facts, steps)

    def _newest(self) -> list[Visit]:
        """The visit that made the image, and those that only measured it since."""
        found: list[Visit] = []
        for visit in reversed(self.visited.values()):
            found.insert(0, visit)
            if not visit.step.keeps_image:
                break
        return found

    def _standing(self, step_id: str) -> StepStanding:
        attempts = sum(visit_id.partition("~")[0] == step_id for visit_id in self.made)
        return StepStanding(True, attempts, self._passed.get(step_id, True))

    def _note(
        self,
        operation: Operation,
        outcome: Decision,
        conditions: Sequence[Condition],
        reasons: tuple[str, ...] = (),
        met: tuple[bool | None, ...] = (),
    ) -> None:
        if self.notes is not None:
            seen: dict[str, Any] = {}
            for condition in conditions:
                seen |= condition.seen(self._scope(condition))
            self.notes.append(Noted(operation, outcome, seen, reasons, met, self.fingerprint))


_TAKE: Mapping[type, Callable[[ItemPath, Any], None]] = {
    Decide: ItemPath._decide,
    Select: ItemPath._select,
    Check: ItemPath._test,
    Reject: ItemPath._reject,
    Warn: ItemPath._warn,
    Save: ItemPath._save,
    Return: ItemPath._return,
    Score: ItemPath._score,
    Pick: ItemPath._pick,
}


def _as_case(value: Any) -> str:
    """As the recipe writes it: `true`, `null`, numbers without quotes."""
    words = {True: "true", False: "false", None: "null"}
    if value is None or isinstance(value, bool):
        return words[value]
    return str(value)


def _shown(value: Any) -> str:
    if value is None:
        return "not known"
    return repr(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
