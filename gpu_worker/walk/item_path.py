"""The walk of an item through a program: it interprets the recipe's tree, decides, and records a trace.

Drivers go through `program.visits` in order, ask at each whether the item wants it, and give the image's provenance and
facts: a worker with images, `prediction` without, `replay` from what the ledger has. Pure; loads neither torch nor
Prefect.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from configs.conditions import Condition
from configs.documents.fields import Item
from gpu_worker.walk.item_context import (
    ItemContext,
    ItemError,
    MistakenCondition,
    PathState,
    RejectedItem,
    Rejection,
    as_case,
    only_names,
)
from gpu_worker.walk.trace import (
    Attempt,
    Branched,
    Candidate,
    Chosen,
    Gated,
    Looped,
    Repaired,
    RequirementResult,
    Switched,
    TraceNode,
    Turn,
    Visited,
)
from steps.contract import Fact
from steps.recipe.program import (
    BestOfNode,
    Block,
    Decision,
    GateNode,
    GroupNode,
    Program,
    RepeatNode,
    StepNode,
    SwitchNode,
    Visit,
)
from storage.images.png_recipe import Provenance


class _Pause(NamedTuple):
    """The walk has come past `at` visits, to the next one or to a decision. `maybe`: whether it goes there is open."""

    at: int
    visit: Visit | None = None
    maybe: bool = False


T = TypeVar("T")
Walk = Generator[_Pause, None, T]
Way = list[TraceNode]


class ItemPath(ItemContext):
    """How far an item has come in a program.

    `accepted` are fingerprints of images that a person has accepted: no gate rejects them. `trace`, if given, records
    every decision.
    """

    def __init__(
        self, item: Item, program: Program, accepted: frozenset[str] = frozenset(), trace: Way | None = None
    ) -> None:
        super().__init__(item)
        self.program, self.accepted = program, accepted
        self.rejected: Rejection | None = None
        self._provenances: dict[str, Provenance] = {}  # of all visits
        self._trace, self._way = trace, trace
        self._candidates = 0  # how many `best_of` are around
        self._walk = self._run()
        self._pause: _Pause | None = _Pause(0)
        self._asked = -1  # index of the last visit asked for
        self._error: ItemError | None = None

    def wants(self, visit: Visit) -> bool | None:
        """Take all decisions up to the visit. Return whether the item goes through it.

        None if that depends on facts that are not known yet. Never true once the item is rejected. Raises ItemError.
        """
        self._advance(visit.at)
        if self._pause is None or self._pause.visit is None or self._pause.visit.id != visit.id:
            return False
        return None if self._pause.maybe or self.undecided else True

    def finish(self) -> None:
        """Take the decisions behind the last visit. Raises ItemError."""
        self._advance(len(self.program.visits))

    def visit(
        self, visit: Visit, provenance: Provenance, facts: Mapping[str, Fact] | None, *, certain: bool = True
    ) -> None:
        """Go through the visit that the item wants; `facts` None if they are not known (yet).

        `certain=False` takes the item there although that is not certain.
        """
        if not certain:
            self._unsure.add(visit.step_id)
        self._asked = max(self._asked, visit.at)
        self._record_visit(visit, provenance.fingerprint)
        self._attempts[visit.step_id] += 1
        self._provenances[visit.id], self.made[visit.id] = provenance, provenance.fingerprint
        if facts is not None:
            self.facts[visit.id] = facts
        visited = {step: one for step, one in self.state.visited.items() if step != visit.step_id}
        chain = self.state.chain if visit.step.keeps_image else (*self.state.chain, provenance)
        self.state = replace(self.state, chain=chain, visited=visited | {visit.step_id: visit})

    def stop(self, visit: Visit) -> None:
        """Record that the walk ends at this visit, which has no image."""
        self._record_visit(visit, None)

    def copy(self) -> "ItemPath":
        """Return a path that can be walked on without moving this one."""
        return copy(self)

    def __reduce__(self) -> Any:  # a generator can be neither copied nor pickled: the copy walks once more
        known = self._asked, dict(self._provenances), dict(self.facts), set(self._unsure), self.undecided
        return _rewalk, (self.item, self.program, self.accepted, *known)

    # -- nodes: each decides, and records what it decided on the way that it is on -------------------------------------
    def _run(self) -> Walk[None]:
        try:
            yield from self._block(self.program.root, self._trace if self._trace is not None else [], False)
        except RejectedItem as rejected:
            self.rejected = rejected.rejection

    def _block(self, block: Block, way: Way, maybe: bool) -> Walk[None]:
        """Walk the nodes in order. `maybe`: a decision around is open."""
        before: list[PathState] = []
        for index, node in enumerate(block.nodes):
            if maybe and index in block.starts:
                self.undecided = True
            before.append(self.state)
            match node:
                case StepNode():
                    yield from self._step(node, way, maybe, before)
                case GateNode():
                    yield from self._lone_gate(node, way, maybe, before)
                case GroupNode():
                    yield from self._group(node, way, maybe)
                case SwitchNode():
                    yield from self._switch(node, way, maybe)
                case RepeatNode():
                    yield from self._repeat(node, way, maybe)
                case BestOfNode():
                    yield from self._best_of(node, way, maybe)

    def _step(self, node: StepNode, way: Way, maybe: bool, before: Sequence[PathState]) -> Walk[None]:
        met, way = yield from self._go_through(node, way, maybe)
        if node.gate is not None and met is not False:
            yield from self._gate(node.gate, way, maybe or met is None, before)

    def _go_through(self, node: StepNode, way: Way, maybe: bool) -> Walk[tuple[bool | None, Way]]:
        """Go through a step or its `else`. Return whether it was the step, and the way that its gate is on."""
        met: bool | None = True
        if node.when is not None:
            met, way = yield from self._branch(node.when, node.visit.step_id, way)
        if met is not False:
            self._way = way
            yield _Pause(node.visit.at, node.visit, maybe or met is None)
        if met is not True:
            yield from self._block(node.otherwise, way, maybe or met is None)
        return met, way

    def _branch(self, decision: Decision, of: str | None, way: Way) -> Walk[tuple[bool | None, Way]]:
        yield _Pause(decision.at)
        met = self.holds(decision.condition, decision.path)
        path, seen = decision.path.rpartition(".")[0], self._seen([decision.condition])
        branched = Branched(path, of, decision.condition.text, seen, met)
        self._record(way, branched)
        return met, branched.way

    def _group(self, node: GroupNode, way: Way, maybe: bool) -> Walk[None]:
        met, way = yield from self._branch(node.when, None, way)
        if met is not False:
            yield from self._block(node.steps, way, maybe or met is None)
        if met is not True:
            yield from self._block(node.otherwise, way, maybe or met is None)

    def _switch(self, node: SwitchNode, way: Way, maybe: bool) -> Walk[None]:
        yield _Pause(node.value.at)
        condition = node.value.condition
        if self.is_open(condition):
            for steps in (*node.cases.values(), node.default):
                yield from self._block(steps, [], True)
            return
        text = as_case(self.value(node.value))
        case = text if text in node.cases else None
        switched = Switched(node.path, condition.text, self._seen([condition]), case)
        self._record(way, switched)
        yield from self._block(node.default if case is None else node.cases[case], switched.way, maybe)

    def _lone_gate(self, gate: GateNode, way: Way, maybe: bool, before: Sequence[PathState]) -> Walk[None]:
        met: bool | None = True
        if gate.when is not None:
            met, way = yield from self._branch(gate.when, None, way)
        if met is not False:
            yield from self._gate(gate, way, maybe or met is None, before)

    def _gate(self, gate: GateNode, way: Way, maybe: bool, before: Sequence[PathState]) -> Walk[None]:
        """Test, retry, repair and judge. `before`: the states before each node of the block."""
        gated = Gated(gate.path, gate.title, gate.of, gate.tries)
        gated.checks, met, reasons = yield from self._test(gate, gate.at)
        gated.met = met
        self._record(way, gated)
        for number, retry in enumerate(gate.retries, 2):
            if met:
                break
            maybe = maybe or met is None
            self._go_back(before[gate.begin], maybe)
            attempt = Attempt(number, gate.start)
            gated.attempts.append(attempt)
            yield from self._block(retry.again, attempt.way, maybe)
            if retry.step is not None:
                visited, _ = yield from self._go_through(retry.step, attempt.way, maybe)
                if visited is False:
                    return
                maybe = maybe or visited is None
            attempt.checks, met, reasons = yield from self._test(gate, retry.at)
            attempt.met = met
        if gate.repair.nodes and not met:
            maybe = maybe or met is None
            gated.repair = Repaired()
            yield from self._block(gate.repair, gated.repair.way, maybe)
            gated.repair.checks, met, reasons = yield from self._test(gate, gate.repaired_at)
            gated.repair.met = met
        if met:
            gated.verdict = "passed"
        else:
            self._judge(gate, gated, "; ".join(reasons), maybe or met is None)

    def _test(self, gate: GateNode, at: int) -> Walk[tuple[tuple[RequirementResult, ...], bool | None, list[str]]]:
        """Return the results, whether all are met, and the reasons of those that are not."""
        yield _Pause(at)
        results: list[bool | None] = []
        reasons: list[str] = []
        for index, one in enumerate(gate.requirements):
            results.append(self.holds(one.condition, f"{gate.path}.require[{index}]"))
            if results[-1] is False:
                reasons.append(self.reason(one.condition, one.because))
        met = False if False in results else None if None in results else True
        if gate.of is not None and met is None:
            self._unsure.add(gate.of)
        elif gate.of is not None and met is not None:
            self.state = replace(self.state, passed={**self.state.passed, gate.of: met})
        seen = self._seen([one.condition for one in gate.requirements])
        checks = [
            RequirementResult(one.condition.text, one.gate, one.because, result, only_names(seen, one.condition))
            for one, result in zip(gate.requirements, results, strict=True)
            if self._trace is not None
        ]
        return tuple(checks), met, reasons

    def _judge(self, gate: GateNode, gated: Gated, reason: str, maybe: bool) -> None:
        if gate.verdict == "warn":
            if not maybe:
                self._warn(reason)
                gated.verdict = "warned"
        elif maybe or self.undecided:
            self.undecided = True
        elif self.fingerprint in self.accepted:
            self._warn(f"{reason}; accepted in review")
            gated.verdict = "accepted"
        else:
            gated.verdict = "dropped" if self._candidates else "quarantined"
            step = gate.of or next(reversed([*self.state.visited]), None)
            raise RejectedItem(Rejection(gate.title, step, reason))

    def _warn(self, text: str) -> None:
        self.state = replace(self.state, warnings=(*self.state.warnings, text))

    def _repeat(self, node: RepeatNode, way: Way, maybe: bool) -> Walk[None]:
        looped = Looped(node.path, node.passes[0].end.condition.text, len(node.passes))
        self._record(way, looped)
        before = self.state
        self.undecided |= maybe and node.from_start
        for number, each in enumerate(node.passes, 1):
            if number > 1 and node.from_start:
                self._go_back(before, maybe)
            turn = Turn(number)
            looped.turns.append(turn)
            yield from self._block(each.steps, turn.way, maybe)
            yield _Pause(each.end.at)
            turn.met = self.holds(each.end.condition, each.end.path)
            turn.seen = self._seen([each.end.condition])
            if turn.met:
                return
            maybe = maybe or turn.met is None

    def _best_of(self, node: BestOfNode, way: Way, maybe: bool) -> Walk[None]:
        chosen = Chosen(node.path, node.candidates[0].end.condition.text, len(node.candidates))
        self._record(way, chosen)
        before = self.state
        best: tuple[float, int, PathState] | None = None
        last: Rejection | None = None
        for number, each in enumerate(node.candidates, 1):
            self._go_back(before, maybe)
            candidate = Candidate(number)
            chosen.candidates.append(candidate)
            self._candidates += 1
            try:
                yield from self._block(each.steps, candidate.way, maybe)
            except RejectedItem as rejected:
                last, candidate.dropped = rejected.rejection, rejected.rejection.reason
            finally:
                self._candidates -= 1
            yield _Pause(each.end.at)
            rank = self._rate(each.end, candidate) if candidate.dropped is None else None
            if rank is not None and (best is None or rank > best[0]):
                best = rank, number, self.state
        if self.undecided:
            return
        if best is not None:
            _, chosen.picked, self.state = best
        else:
            assert last is not None, "a candidate without a value has dropped out"
            raise RejectedItem(last._replace(reason=f"no candidate was left, the last one for this: {last.reason}"))

    def _rate(self, by: Decision, candidate: Candidate) -> float | None:
        """Return the candidate's value, -inf for one without, or None if it is not known yet."""
        if self.undecided or self.is_open(by.condition):
            self.undecided = True
            return None
        value = self.value(by)
        if value is not None and not isinstance(value, int | float):
            message = f"`{by.condition.text}` is {value!r}, and candidates need a number"
            raise MistakenCondition(by.path, message)
        candidate.scored, candidate.value = True, None if value is None else float(value)
        candidate.seen = self._seen([by.condition])
        return float("-inf") if value is None else float(value)

    def _go_back(self, state: PathState, maybe: bool) -> None:
        self.undecided |= maybe
        if not self.undecided:
            self.state = state

    # -- the driver's side ---------------------------------------------------------------------------------------------
    def _advance(self, at: int) -> None:
        """Walk to the visit of this index, or past it if the item does not come there."""
        self._asked = at
        if self._error is not None:
            raise self._error
        while self._pause is not None and (self._pause.at < at or (self._pause.at == at and not self._pause.visit)):
            try:
                self._pause = next(self._walk, None)
            except ItemError as error:
                self._error = error
                raise

    def _record(self, way: Way, node: TraceNode) -> None:
        if self._trace is not None:
            way.append(node)

    def _seen(self, conditions: Sequence[Condition]) -> dict[str, Any]:
        return self.seen(conditions) if self._trace is not None else {}

    def _record_visit(self, visit: Visit, made: str | None) -> None:
        if self._trace is not None and self._way is not None:
            seed = visit.item(self.item).seed
            self._way.append(Visited(visit, self._attempts[visit.step_id] + 1, seed, self.fingerprint, made))


def _rewalk(
    item: Item,
    program: Program,
    accepted: frozenset[str],
    asked: int,
    provenances: Mapping[str, Provenance],
    facts: Mapping[str, Mapping[str, Fact]],
    unsure: set[str],
    undecided: bool,
) -> ItemPath:
    """Return a path that has come as far as another one, without its trace."""
    path = ItemPath(item, program, accepted)
    with suppress(ItemError):
        for visit in program.visits[: asked + 1]:
            path.wants(visit)
            if visit.id in provenances:
                path.visit(visit, provenances[visit.id], facts.get(visit.id))
        if asked == len(program.visits):
            path.finish()
    path._unsure, path.undecided = unsure, undecided
    return path
