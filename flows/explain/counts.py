"""What became of all items of a job at each gate, how often their images were made, and what they were warned of.

Bounded, however many items there are: counts by gate and step, and the first few messages.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from configs.documents.problems import InvalidInput
from flows.explain.explain import Explanation
from flows.report.report import MAX_WARNINGS, GateStats, GateSummary, ItemWarning, WhyNot
from gpu_worker.walk.trace import Gated, RequirementResult
from steps.recipe import resolve_program
from steps.recipe.program import Block, GateNode, StepNode, blocks_in
from storage.ledger.records import JobRecord

MAX_GATES = 100
MAX_REASONS = 10  # of a gate


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


class WayCounts:
    """Counts explanations, one after the other."""

    def __init__(self, job: JobRecord) -> None:
        self._order = {path: number for number, path in enumerate(_gates_of(job))}
        self._gates: dict[str, _GateTally] = {}
        self._attempts: dict[str, Counter[int]] = {}  # step id -> attempts -> items
        self._warned: list[ItemWarning] = []
        self._warnings = self._items = 0

    def add(self, explanation: Explanation) -> None:
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

    @property
    def ways(self) -> GateStats:
        """The counts so far."""
        again = {step: counts for step, counts in self._attempts.items() if max(counts) > 1}
        gates = sorted(self._gates.items(), key=lambda gate: self._order[gate[0]])[:MAX_GATES]
        return GateStats(
            gates=tuple(_summary(place, tally) for place, tally in gates),
            attempts={
                step: tuple(counts[number] for number in range(1, max(counts) + 1)) for step, counts in again.items()
            },
            warned_items=self._items,
            warnings=self._warnings,
            warned=tuple(self._warned),
        )


def _gates_of(job: JobRecord) -> Iterator[str]:
    """Yield the paths of the recipe's gates in order; none of a recipe that cannot be compiled here."""
    try:
        yield from _gates_in(resolve_program(job.recipe).root)
    except InvalidInput:
        return


def _gates_in(block: Block) -> Iterator[str]:
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


def _summary(place: str, tally: _GateTally) -> GateSummary:
    common = tally.reasons.most_common(MAX_REASONS)
    reasons = tuple(WhyNot(reason=reason, images=count) for reason, count in common)
    return GateSummary(gate=tally.name, step=tally.step, place=place, reasons=reasons, **tally.counts)
