"""The program as it is written down: operations, the names they go by, and the mistakes of the recipe."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from configs.conditions import Condition
from configs.documents.problems import Problem
from steps.facts import FACTS
from steps.recipe.program import Decide, Operation, ResolvedStep, Visit
from steps.recipe.scope import CompileScope


class ProgramDraft:
    """A program of which more and more is known.

    `steps` and `conditions` come with their paths in the document, each once, however often loops write them out.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[str, ResolvedStep]] = []
        self.conditions: list[tuple[str, Condition]] = []
        self.problems: list[Problem] = []
        self._operations: list[Operation] = []
        self._taken: dict[str, int] = {}  # name -> how often
        self._wanted: dict[str, set[str]] = {}  # visit id -> facts that conditions name

    def name(self, wished: str) -> str:
        """A name for a decision or a visit: with a number where loops wrote it before."""
        number = self._taken[wished] = self._taken.get(wished, 0) + 1
        return wished if number == 1 else f"{wished}~{number}"

    def add(self, operation: Operation) -> None:
        """The next one."""
        self._operations.append(operation)

    def decide(self, wished: str, condition: Condition, scope: CompileScope, place: str) -> str:
        """Adds the decision whether a condition holds. Returns its name."""
        key = self.name(wished)
        self.add(Decide(key=key, condition=condition, guards=scope.guards, place=place))
        return key

    def want(self, visits: Iterable[str], fact: str) -> None:
        """Has the fact measured on the images of these visits."""
        for visit in visits:
            self._wanted.setdefault(visit, set()).add(fact)

    def complain(self, scope: CompileScope, path: str, message: str) -> None:
        """Of a mistake at this place: once, however often loops come there."""
        if not scope.is_again:
            self.problems.append(Problem(path, message))

    def operations(self) -> Iterator[Operation]:
        """All, in order; each visit knows by now which facts are asked for."""
        for each in self._operations:
            if isinstance(each, Visit) and not each.step.keeps_image:
                yield replace(each, facts=each.facts | (self._wanted.get(each.id, set()) & FACTS.keys()))
            else:
                yield each
