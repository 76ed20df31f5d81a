"""Why images came out so: the traces of their items' walks, replayed from the ledger. Pure: no images, no device."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from configs.documents.problems import InvalidInput
from flows.report.report import MAX_WARNINGS, GateStats, GateSummary, ItemWarning, WarningCount, WhyNot
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import replay
from gpu_worker.walk.trace import Gated, RequirementResult, TraceNode, Visited, VisitState, nodes_of, trim
from steps.recipe import resolve_program
from steps.recipe.program import Block, GateNode, Program, StepNode, blocks_in
from storage.ledger.records import ItemReport, JobRecord, Outcome, Review, StepOutcome

MAX_GATES = 100
MAX_REASONS = 10  # of a gate
MAX_TEXTS = 1_000  # different warnings that are counted: those of gates hold values
MAX_COUNTED = 20


@dataclass(frozen=True, slots=True)
class Explanation:
    """An item's path, as far as the ledger records it.

    `problems`: why the recipe cannot be followed here; the way is empty then. `unplaced` are outcomes in the ledger
    that have no place in the way: all of them, if it cannot be followed.
    """

    job: JobRecord
    report: ItemReport
    way: tuple[TraceNode, ...]
    unplaced: Mapping[str, StepOutcome]  # by visit id
    reviews: tuple[Review, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def visits(self) -> Iterator[Visited]:
        """The visits of all attempts and candidates, in the order in which they were made."""
        return (node for node in nodes_of(self.way) if isinstance(node, Visited))

    def label(self, visit: str) -> str:
        """Return `base, attempt 2` for the item's second visit of `base`, whatever the recipe numbers it."""
        return next((made.label for made in self.visits if made.visit == visit), visit)

    @property
    def gates(self) -> Iterator[Gated]:
        return (node for node in nodes_of(self.way) if isinstance(node, Gated))


class Explainer:
    """Explains the items of one job."""

    def __init__(self, job: JobRecord, reviews: Iterable[Review] = ()) -> None:
        """Compile the job's recipe; `problems` lists why it cannot be, such as steps that this installation lacks."""
        self._job = job
        self._reviews: dict[str, list[Review]] = {}
        for review in reviews:
            self._reviews.setdefault(review.item, []).append(review)
        self.program: Program | None = None
        self.problems: tuple[str, ...] = ()
        try:
            self.program = resolve_program(job.recipe)
        except InvalidInput as refusal:
            self.problems = tuple(str(problem) for problem in refusal.problems)

    def explain(self, report: ItemReport) -> Explanation:
        """Return the item's path as far as the ledger records it, whatever state the item is in."""
        reviews = tuple(self._reviews.get(report.record.item.name, ()))
        if self.program is None:
            return Explanation(self._job, report, (), dict(report.steps), reviews, self.problems)
        accepted = frozenset(review.fingerprint for review in reviews if review.accepted)
        way: list[TraceNode] = []
        path = replay(report.record.item, self.program, report.steps, accepted=accepted, trace=way)
        trim(way)
        visits = {node.visit: node for node in nodes_of(way) if isinstance(node, Visited)}
        _complete(visits, path, report)
        unplaced = {
            visit: entry
            for visit, entry in report.steps.items()
            if visit not in visits and entry.outcome is not Outcome.SKIPPED
        }
        return Explanation(self._job, report, tuple(way), unplaced, reviews)


def _complete(visits: Mapping[str, Visited], path: ItemPath, report: ItemReport) -> None:
    """Add what the ledger recorded of the visits, and what their images were made of."""
    final = {visit.id for visit in path.state.visited.values()}
    makers: dict[str, list[str]] = {}  # fingerprint -> visits that made it, the newest last
    for node in visits.values():
        item, visit = report.record.item, node.by
        node.entry = report.steps.get(node.visit)
        node.state = _state(node.entry, node.made is not None)
        if node.before is not None:
            # Of several visits that made the same image, the one that the item went on from, or else the newest.
            made_by = makers[node.before]
            node.source = next((each for each in made_by if each in final), made_by[-1])
        if visit.is_again:
            first = path.program.visits[path.program.step_ids.index(visit.step_id)].step.model_dump(mode="json")
            now = visit.step.model_dump(mode="json")
            node.changed = {name: value for name, value in now.items() if value != first[name]}
        if node.made is not None:
            node.new_seed = bool(visit.seeds) and visit.step.identity(item) != visit.step.identity(visit.item(item))
            if not visit.step.keeps_image:
                makers.setdefault(node.made, []).append(node.visit)
    last: str | None = None
    for visit in path.state.visited.values():
        if visit.step.keeps_image:
            visits[visit.id].counts = True
        else:
            last = visit.id
    while last is not None and not visits[last].counts:
        visits[last].counts = True
        last = visits[last].source


def _state(entry: StepOutcome | None, visited: bool) -> VisitState:
    if visited and entry is not None:
        return "reused" if entry.outcome is Outcome.REUSED else "computed"
    outcome = None if entry is None else entry.outcome
    if outcome is Outcome.FAILED:
        return "failed"
    return "lost" if outcome in (Outcome.COMPUTED, Outcome.REUSED) else "waiting"


# -- counts over all items of a job -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _GateTally:
    name: str
    step: str | None
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, gate: Gated) -> None:
        self.counts["tested"] += 1
        self.counts[_outcome(gate)] += 1
        self.counts["attempts"] += len(gate.attempts)
        # Of the first image: what a retry had to do.
        self.reasons.update(_reason(one) for one in gate.checks if one.met is False)

    def summary(self, place: str) -> GateSummary:
        reasons = tuple(WhyNot(reason=text, images=count) for text, count in self.reasons.most_common(MAX_REASONS))
        return GateSummary(gate=self.name, step=self.step, place=place, reasons=reasons, **self.counts)


class WayCounts:
    """Counts of all items: their fate at each gate, how often their images were made, and their warnings.

    Bounded, however many items there are: counts by gate and step, and the first few messages.
    """

    def __init__(self, job: JobRecord) -> None:
        program = Explainer(job).program
        self._order = {path: number for number, path in enumerate(_gates_in(program.root) if program else ())}
        self._gates: dict[str, _GateTally] = {}
        self._attempts: dict[str, Counter[int]] = {}  # step id -> attempts -> items
        self._warned: list[ItemWarning] = []
        self._warned_of = Counter[str]()
        self._warnings = self._items = 0

    def add(self, explanation: Explanation) -> None:
        """Count one more explanation."""
        for gate in explanation.gates:
            self._gates.setdefault(gate.path, _GateTally(gate.name, gate.of)).add(gate)
        made = Counter(visit.step for visit in explanation.visits if visit.state in ("computed", "reused"))
        for step, attempts in made.items():
            self._attempts.setdefault(step, Counter())[attempts] += 1
        record = explanation.report.record
        if record.warnings:
            self._items += 1
            self._warnings += len(record.warnings)
            room = MAX_WARNINGS - len(self._warned)
            self._warned += [ItemWarning(item=record.item.name, message=text) for text in record.warnings[:room]]
            texts = dict.fromkeys(record.warnings)
            self._warned_of.update(
                each for each in texts if each in self._warned_of or len(self._warned_of) < MAX_TEXTS
            )

    @property
    def ways(self) -> GateStats:
        """The counts so far."""
        again = {step: counts for step, counts in self._attempts.items() if max(counts) > 1}
        gates = sorted(self._gates.items(), key=lambda gate: self._order[gate[0]])[:MAX_GATES]
        return GateStats(
            gates=tuple(tally.summary(place) for place, tally in gates),
            attempts={
                step: tuple(counts[number] for number in range(1, max(counts) + 1)) for step, counts in again.items()
            },
            warned_items=self._items,
            warnings=self._warnings,
            warned=tuple(self._warned),
            warned_of=tuple(
                WarningCount(message=text, items=items) for text, items in self._warned_of.most_common(MAX_COUNTED)
            ),
        )


def _gates_in(block: Block) -> Iterator[str]:
    """Yield the paths of the gates in order."""
    for node in block.nodes:
        gate = node.gate if isinstance(node, StepNode) else node
        if isinstance(gate, GateNode):
            yield gate.path
        for inner in blocks_in(node):
            yield from _gates_in(inner)


def _outcome(gate: Gated) -> str:
    if gate.verdict != "passed":
        return gate.verdict or "open"
    if gate.repair is not None and gate.repair.met:
        return "repaired"
    return "retried" if gate.attempts else "passed"


def _reason(check: RequirementResult) -> str:
    words = [word for word in (check.gate, check.because) if word]
    return f"{': '.join(words)}: {check.text}" if words else check.text
