"""Why an image came out so: the way of its item, told from what the ledger knows. Pure: no images, no device."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from configs.conditions import Condition
from configs.documents.problems import InvalidInput
from configs.recipe.recipe import BestOf, Gate, OnFail, RecipeStep, Repeat
from flows.explain.explained import (
    Attempt,
    Branched,
    Candidate,
    Chosen,
    Explanation,
    Gated,
    Looped,
    Node,
    Repaired,
    RequirementResult,
    Standing,
    Switched,
    Turn,
    Visited,
)
from flows.explain.outline import Frames, Inside, ListFrame, Spot, outline
from flows.explain.replay import replay
from gpu_worker.walk.item_path import ItemPath, Noted
from steps.recipe import resolve_program
from steps.recipe.program import Check, Decide, Operation, Pick, Program, Reject, Return, Score, Select, Visit, Warn
from storage.ledger.records import ItemReport, JobRecord, Outcome, Review, StepOutcome


class Explainer:
    """Explains the items of one job. Cheap to ask for many: the recipe is compiled once."""

    def __init__(self, job: JobRecord, reviews: Iterable[Review] = ()) -> None:
        """A recipe that cannot be compiled here, such as one with steps that this installation lacks, is no error."""
        self._job = job
        self._reviews: dict[str, list[Review]] = {}
        for review in reviews:
            self._reviews.setdefault(review.item, []).append(review)
        self._outline = outline(job.recipe)
        self.program: Program | None = None
        self.problems: tuple[str, ...] = ()
        try:
            self.program = resolve_program(job.recipe)
        except InvalidInput as refusal:
            self.problems = tuple(str(problem) for problem in refusal.problems)

    def explain(self, report: ItemReport) -> Explanation:
        """The way of the item as far as the ledger knows it, whatever state the item is in."""
        reviews = tuple(self._reviews.get(report.record.item.name, ()))
        if self.program is None:
            return Explanation(self._job, report, (), dict(report.steps), reviews, self.problems)
        accepted = frozenset(review.fingerprint for review in reviews if review.accepted)
        notes: list[Noted] = []
        path = replay(report.record.item, self.program, report.steps, accepted=accepted, notes=notes, stop_at_gap=True)
        builder = _ExplanationBuilder(self._outline, self.program, report, path)
        for noted in notes:
            builder.add(noted)
        builder.mark_what_counts()
        unplaced = {
            visit: entry
            for visit, entry in report.steps.items()
            if visit not in builder.visits and entry.outcome is not Outcome.SKIPPED
        }
        return Explanation(self._job, report, tuple(builder.way), unplaced, reviews)


class _OpenList:
    """A list of nodes that the way is in. `frame` None: an attempt of the gate at `place`, in the list `base`."""

    __slots__ = ("attempt", "base", "frame", "place", "way")

    def __init__(
        self,
        way: list[Node],
        frame: ListFrame | None = None,
        *,
        attempt: Attempt | None = None,
        place: str = "",
        base: Frames = (),
    ) -> None:
        self.way, self.frame, self.attempt, self.place, self.base = way, frame, attempt, place, base


class _ExplanationBuilder:
    """Puts noted operations, one after the other, where they belong.

    The operations of a program are a straight line; what the recipe's author wrote as branches and loops is found again
    by their places. What a gate has made anew goes below the gate, wherever in the recipe it begins.
    """

    def __init__(self, outline: Mapping[str, Spot], program: Program, report: ItemReport, path: ItemPath) -> None:
        self._outline, self._program, self._report, self._path = outline, program, report, path
        self._makers: dict[str, list[str]] = {}  # fingerprint -> visits that made it, the newest last
        self._final = {visit.id for visit in path.visited.values()}
        self._attempts = Counter[str]()
        self._stack: list[_OpenList] = []
        self._rejection = ""
        self.way: list[Node] = []
        self.visits: dict[str, Visited] = {}

    def add(self, noted: Noted) -> None:
        _ADD[type(noted.operation)](self, noted, noted.operation)

    # -- operations ----------------------------------------------------------------------------------------------------
    def _visit(self, noted: Noted, visit: Visit) -> None:
        self._enter(self._outline[visit.place].inside(visit.place), visit.place)
        entry = self._report.steps.get(visit.id)
        item = self._report.record.item
        made = noted.outcome is True
        self._attempts[visit.step_id] += 1
        node = Visited(
            place=visit.place,
            visit=visit.id,
            step=visit.step_id,
            attempt=self._attempts[visit.step_id],
            name=visit.name,
            standing=_standing(entry, made),
            entry=entry,
            seed=visit.item(item).seed,
            new_seed=made and bool(visit.seeds) and visit.step.identity(item) != visit.step.identity(visit.item(item)),
            changed=self._changed(visit),
            source=None if noted.image is None else self._maker(noted.image),
        )
        self._current.append(node)
        self.visits[visit.id] = node
        if made and not visit.step.keeps_image:
            self._makers.setdefault(self._path.made[visit.id], []).append(visit.id)

    def _maker(self, fingerprint: str) -> str:
        """Of several visits that made the same image, the one that the item went on from, or else the newest."""
        makers = self._makers[fingerprint]
        return next((each for each in makers if each in self._final), makers[-1])

    def mark_what_counts(self) -> None:
        """Follows the image that the item has now back to where it came from."""
        last: str | None = None
        for visit in self._path.visited.values():
            if visit.step.keeps_image:
                self.visits[visit.id].counts = True
            else:
                last = visit.id
        while last is not None and not self.visits[last].counts:
            self.visits[last].counts = True
            last = self.visits[last].source

    def _changed(self, visit: Visit) -> dict[str, Any]:
        if not visit.is_again:
            return {}
        first = self._program.visits[self._program.step_ids.index(visit.step_id)].step.model_dump(mode="json")
        now = visit.step.model_dump(mode="json")
        return {name: value for name, value in now.items() if value != first[name]}

    def _decide(self, noted: Noted, operation: Decide) -> None:
        place, _, word = operation.place.rpartition(".")
        spot = self._outline[place]
        met = noted.outcome if isinstance(noted.outcome, bool) else None
        if word == "until":
            self._enter((*spot.frames, ListFrame(Inside.LOOP, place)), place)
            turn = self._loop(place, spot).turns[-1]
            turn.seen, turn.met = noted.seen, met
            del self._stack[-1:]  # the next time has a list of its own
            return
        self._enter(spot.frames, place)
        of = spot.entry.id if isinstance(spot.entry, RecipeStep) else None
        self._current.append(Branched(place, of, operation.condition.text, noted.seen, met))

    def _select(self, noted: Noted, operation: Select) -> None:
        place = operation.place.rpartition(".")[0]
        self._enter(self._outline[place].frames, place)
        self._current.append(Switched(place, operation.value.text, noted.seen, str(noted.outcome) or None))

    def _test(self, noted: Noted, operation: Check) -> None:
        place = operation.place.rpartition(".")[0]
        checks = tuple(
            RequirementResult(one.condition.text, one.gate, one.because, met, _of(noted.seen, one.condition))
            for one, met in zip(operation.requirements, noted.met, strict=True)
        )
        met = noted.outcome if isinstance(noted.outcome, bool) else None
        spot = self._outline[place]
        made_anew = self._end_attempt(spot.inside(place), place)
        if made_anew is not None:
            made_anew.checks, made_anew.met = checks, met
        self._enter(spot.inside(place), place)
        gate = self._gate(place)
        if gate is None or gate.verdict is not None:
            assert isinstance(spot.entry, RecipeStep | Gate)
            plan = spot.entry.on_fail
            tries = plan.retry + 1 if isinstance(plan, OnFail) else 1
            gate = Gated(place, operation.name, operation.of, tries, checks, met)
            self._current.append(gate)
        elif made_anew is None:
            gate.repair = gate.repair or Repaired()
            gate.repair.checks, gate.repair.met = checks, met
        if met:
            gate.verdict = "passed"

    def _end_attempt(self, frames: Frames, place: str) -> Attempt | None:
        """Leaves the attempt of the gate at this place, which its test ends. None: the way is in none."""
        start, _ = self._attempt_around(frames, place)
        if start and self._stack[start - 1].place == place:
            attempt = self._stack[start - 1].attempt
            del self._stack[start - 1 :]
            return attempt
        return None

    def _reject(self, noted: Noted, operation: Reject) -> None:
        gate = self._judged(operation)
        if noted.outcome is None:
            gate.verdict = "accepted"
            return
        gate.verdict = "quarantined" if operation.candidate_of is None else "dropped"
        self._rejection = "; ".join(noted.reasons)

    def _warn(self, _: Noted, operation: Warn) -> None:
        self._judged(operation).verdict = "warned"

    def _judged(self, operation: Operation) -> Gated:
        place = operation.place.rpartition(".")[0]
        self._enter(self._outline[place].inside(place), place)
        gate = self._gate(place)
        assert gate is not None, "a verdict follows its test"
        return gate

    def _return(self, _: Noted, operation: Return) -> None:
        place = operation.place
        spot = self._outline[place]
        if isinstance(spot.entry, BestOf):
            self._enter(spot.frames, place)
            self._end_candidate()
        elif not isinstance(spot.entry, Repeat):
            self._enter(spot.inside(place), place)
            gate = self._gate(place)
            assert gate is not None and isinstance(spot.entry, RecipeStep | Gate), "what is made anew was rejected"
            plan = spot.entry.on_fail
            start = plan.start if isinstance(plan, OnFail) else None
            attempt = Attempt(len(gate.attempts) + 2, start or gate.name)
            gate.attempts.append(attempt)
            self._stack.append(_OpenList(attempt.way, attempt=attempt, place=place, base=spot.frames))

    def _score(self, noted: Noted, operation: Score) -> None:
        place = operation.place.rpartition(".")[0]
        spot = self._outline[place]
        self._enter((*spot.frames, ListFrame(Inside.CHOICE, place)), place)
        candidate = self._choice(place, spot, operation.by.text).candidates[-1]
        candidate.scored, candidate.seen = True, noted.seen
        candidate.value = None if noted.outcome == "None" else float(str(noted.outcome))
        del self._stack[-1:]

    def _pick(self, noted: Noted, operation: Pick) -> None:
        self._enter(self._outline[operation.place].frames, operation.place)
        self._end_candidate()
        choice = self._current[-1]
        assert isinstance(choice, Chosen), "a pick follows its candidates"
        if noted.outcome is False:
            self._rejection = "; ".join(noted.reasons)
        else:
            choice.picked = int(str(noted.outcome))

    def _end_candidate(self) -> None:
        """One that has no score by now has dropped out."""
        choice = self._current[-1] if self._current else None
        if isinstance(choice, Chosen) and not choice.candidates[-1].scored:
            choice.candidates[-1].dropped = self._rejection

    # -- places --------------------------------------------------------------------------------------------------------
    @property
    def _current(self) -> list[Node]:
        return self._stack[-1].way if self._stack else self.way

    def _enter(self, frames: Frames, place: str) -> None:
        """Goes to the list that `frames` lead to, within the attempt that the way is in."""
        start, expected = self._attempt_around(frames, place)
        common = 0
        for opened, frame in zip(self._stack[start:], expected, strict=False):
            if opened.frame is None or opened.frame != frame:
                break
            common += 1
        del self._stack[start + common :]
        for frame in expected[common:]:
            self._stack.append(_OpenList(self._list_in(frame), frame))

    def _attempt_around(self, frames: Frames, place: str) -> tuple[int, Frames]:
        """Where in the stack the innermost attempt begins that goes on there, and the way from it. Leaves others."""
        for position in reversed(range(len(self._stack))):
            opened = self._stack[position]
            if opened.attempt is None:
                continue
            if self._is_in(opened, frames, place):
                return position + 1, frames[len(opened.base) :]
            del self._stack[position:]
        return 0, frames

    def _is_in(self, opened: _OpenList, frames: Frames, place: str) -> bool:
        """Whether the attempt goes on there: it makes entries of its list anew up to the gate's own."""
        depth = len(opened.base)
        if frames[:depth] != opened.base:
            return False
        sibling = self._outline[frames[depth].place if len(frames) > depth else place]
        # Else it is what a loop decides at the end of the list.
        return sibling.frames == opened.base and sibling.number <= self._outline[opened.place].number

    def _list_in(self, frame: ListFrame) -> list[Node]:
        """The list of the node that was added last, or that begins here."""
        spot = self._outline[frame.place]
        if frame.kind is Inside.LOOP:
            loop = self._loop(frame.place, spot)
            if not loop.turns or loop.turns[-1].met is not None:
                loop.turns.append(Turn(len(loop.turns) + 1))
            return loop.turns[-1].way
        if frame.kind is Inside.CHOICE:
            assert isinstance(spot.entry, BestOf)
            candidates = self._choice(frame.place, spot, Condition.parse(spot.entry.by).text).candidates
            if not candidates or candidates[-1].scored or candidates[-1].dropped is not None:
                candidates.append(Candidate(len(candidates) + 1))
            return candidates[-1].way
        node = self._current[-1]
        assert node.place == frame.place, "what is decided stands before what follows from it"
        if frame.kind is Inside.REPAIR:
            assert isinstance(node, Gated)
            node.repair = node.repair or Repaired()
            return node.repair.way
        assert isinstance(node, Branched | Switched)
        return node.way

    def _gate(self, place: str) -> Gated | None:
        last = self._current[-1] if self._current else None
        return last if isinstance(last, Gated) and last.place == place else None

    def _loop(self, place: str, spot: Spot) -> Looped:
        last = self._node_around(place)
        if isinstance(last, Looped) and last.place == place:
            return last
        assert isinstance(spot.entry, Repeat)
        loop = Looped(place, Condition.parse(spot.entry.until).text, spot.entry.repeat)
        self._current.append(loop)
        return loop

    def _choice(self, place: str, spot: Spot, text: str) -> Chosen:
        last = self._node_around(place)
        if isinstance(last, Chosen) and last.place == place:
            return last
        assert isinstance(spot.entry, BestOf)
        choice = Chosen(place, text, spot.entry.best_of)
        self._current.append(choice)
        return choice

    def _node_around(self, place: str) -> Node | None:
        """The node whose list the way is in, if it is the one at this place; else the last node of the list."""
        if self._stack and self._stack[-1].frame is not None and self._stack[-1].frame.place == place:
            outer = self._stack[-2].way if len(self._stack) > 1 else self.way
            return outer[-1]
        return self._current[-1] if self._current else None


_ADD: Mapping[type, Callable[[_ExplanationBuilder, Noted, Any], None]] = {
    Visit: _ExplanationBuilder._visit,
    Decide: _ExplanationBuilder._decide,
    Select: _ExplanationBuilder._select,
    Check: _ExplanationBuilder._test,
    Reject: _ExplanationBuilder._reject,
    Warn: _ExplanationBuilder._warn,
    Return: _ExplanationBuilder._return,
    Score: _ExplanationBuilder._score,
    Pick: _ExplanationBuilder._pick,
}


def _standing(entry: StepOutcome | None, visited: bool) -> Standing:
    if visited and entry is not None:
        return "reused" if entry.outcome is Outcome.REUSED else "computed"
    outcome = None if entry is None else entry.outcome
    if outcome is Outcome.FAILED:
        return "failed"
    return "lost" if outcome in (Outcome.COMPUTED, Outcome.REUSED) else "waiting"


def _of(seen: Mapping[str, Any], condition: Condition) -> dict[str, Any]:
    names = {".".join(name) for name in condition.names}
    return {name: value for name, value in seen.items() if name in names}
