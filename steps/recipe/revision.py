"""What of a program decides images, as JSON values: revisions of jobs, and thus ledgers, hold digests of it.

The first version kept programs as a line of operations, each guarded by the decisions that lead to it. Its words and
order stay: any change here plans every job again.
"""

from collections import Counter
from typing import Any

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

Guards = tuple[tuple[str, bool | str], ...]  # decisions and how they must have come out


def describe_program(program: Program) -> list[Any]:
    """Return the operations as `[kind, guards, fields]`: no paths in the recipe, and no words for people."""
    lines = _Lines()
    lines.block(program.root, (), None)
    return lines.found


class _Lines:
    def __init__(self) -> None:
        self.found: list[Any] = []
        self._taken = Counter[str]()

    def block(self, block: Block, guards: Guards, candidate_of: str | None) -> None:
        saved: dict[int, str] = {}  # index of a node -> name of the state before it
        for index, node in enumerate(block.nodes):
            if index in block.starts:
                saved[index] = self._name(f"before {node.title}")
                self._add("Save", guards, key=saved[index])
            match node:
                case StepNode():
                    visiting = self._step(node, guards, candidate_of)
                    if node.gate is not None:
                        self._gate(node.gate, visiting, candidate_of, saved)
                case GateNode():
                    met = guards if node.when is None else self._decide(f"{node.title}.when", node.when, guards, True)
                    self._gate(node, met, candidate_of, saved)
                case GroupNode():
                    met = self._decide(f"{node.title}.when", node.when, guards, True)
                    self.block(node.steps, met, candidate_of)
                    self.block(node.otherwise, _turned(met, False), candidate_of)
                case SwitchNode():
                    self._switch(node, guards, candidate_of)
                case RepeatNode():
                    self._repeat(node, guards, candidate_of)
                case BestOfNode():
                    self._best_of(node, guards, candidate_of)

    def _step(self, node: StepNode, guards: Guards, candidate_of: str | None) -> Guards:
        """Add the step and its `else`. Return the guards of items that visit it."""
        if node.when is None:
            self._visit(node.visit, guards)
            return guards
        met = self._decide(f"{node.title}.when", node.when, guards, True)
        self._visit(node.visit, met)
        self.block(node.otherwise, _turned(met, False), candidate_of)
        return met

    def _visit(self, visit: Visit, guards: Guards) -> None:
        step = {"step": visit.name, "version": visit.step.version, "parameters": visit.step.model_dump(mode="json")}
        self._add("Visit", guards, id=visit.id, step_id=visit.step_id, seeds=visit.seeds, **step)

    def _gate(self, gate: GateNode, guards: Guards, candidate_of: str | None, saved: dict[int, str]) -> None:
        failing = self._test(gate, guards)
        for retry in gate.retries:
            self._add("Return", failing, key=saved[gate.begin])
            self.block(retry.again, failing, candidate_of)
            failing = self._test(gate, self._step(retry.step, failing, candidate_of) if retry.step else failing)
        if gate.repair.nodes:
            self.block(gate.repair, failing, candidate_of)
            failing = self._test(gate, failing)
        test = failing[-1][0]
        if gate.verdict == "warn":
            self._add("Warn", failing, test=test)
        else:
            self._add("Reject", failing, test=test, candidate_of=candidate_of)

    def _test(self, gate: GateNode, guards: Guards) -> Guards:
        key = self._name(f"{gate.title}.require")
        self._add("Test", guards, key=key, requirements=[one.condition.text for one in gate.requirements])
        return (*guards, (key, False))

    def _switch(self, node: SwitchNode, guards: Guards, candidate_of: str | None) -> None:
        key = self._name(f"{node.title}.switch")
        self._add("Select", guards, key=key, value=node.value.condition.text, cases=list(node.cases))
        for case, steps in {**node.cases, "": node.default}.items():
            self.block(steps, (*guards, (key, case)), candidate_of)

    def _repeat(self, node: RepeatNode, guards: Guards, candidate_of: str | None) -> None:
        saved = self._name(f"before {node.title}")
        for number, each in enumerate(node.passes):
            if node.from_start:
                self._add("Return" if number else "Save", guards, key=saved)
            self.block(each.steps, guards, candidate_of)
            guards = self._decide(f"{node.title}.until", each.end, guards, False)

    def _best_of(self, node: BestOfNode, guards: Guards, candidate_of: str | None) -> None:
        key = self._name(f"best of {node.title}")
        for number, each in enumerate(node.candidates):
            self._add("Return" if number else "Save", guards, key=key)
            self.block(each.steps, guards, key)
            self._add("Score", guards, key=key, candidate=number + 1, by=each.end.condition.text)
        self._add("Pick", guards, key=key, candidate_of=candidate_of)

    def _decide(self, wished: str, decision: Decision, guards: Guards, value: bool) -> Guards:
        key = self._name(wished)
        self._add("Decide", guards, key=key, condition=decision.condition.text)
        return (*guards, (key, value))

    def _name(self, wished: str) -> str:
        self._taken[wished] += 1
        number = self._taken[wished]
        return wished if number == 1 else f"{wished}~{number}"

    def _add(self, kind: str, guards: Guards, **fields: Any) -> None:
        self.found.append([kind, [list(guard) for guard in guards], fields])


def _turned(guards: Guards, value: bool) -> Guards:
    """Return the guards with another outcome of the last decision."""
    return (*guards[:-1], (guards[-1][0], value))
