"""A condition, and what it comes to for an item with the facts measured on its images."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from configs.conditions.evaluator import LookUp, evaluator_of_thread
from configs.conditions.operators import UNKNOWN, truth_of
from configs.conditions.text import ITEM_NAMES, ConditionError, parse
from configs.documents.fields import Item

THIS = "this"  # instead of a step's id: the image that the item has now
_RUNNING = frozenset({"facts", "steps"})  # names of what is known only as the recipe runs


@dataclass(frozen=True, slots=True)
class StepStanding:
    """What became of an item at a step, as conditions see it."""

    visited: bool = False
    attempts: int = 0  # how often it was made
    passed: bool = False  # visited, and its gates were met


@dataclass(frozen=True, slots=True)
class Scope:
    """What a condition sees.

    `facts` maps the ids of the steps that the item visited to their facts, and `this` to those of the image that it
    has now. `steps` maps ids of steps that come earlier; one that is missing was not visited.
    """

    item: Item
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    steps: Mapping[str, StepStanding] = field(default_factory=dict)


_NOT_VISITED = StepStanding()


class _Missing(Exception):
    """The condition needs a variable or a fact that this item does not have."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition; immutable and safe to share between threads."""

    text: str
    names: frozenset[tuple[str, ...]]  # ("vars", name), ("facts", step id, fact), ("item", name), ("steps", id, name)
    _tree: ast.expr = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Raises ConditionError for anything but comparisons, and/or/not, in, arithmetic, literals and lists."""
        tree, names = parse(text)
        return cls(ast.unparse(tree), names, tree)

    def holds(self, scope: Scope) -> bool:
        """Whether it is true. False when it comes to a variable or a fact that the item does not have.

        Raises ConditionError when the values cannot be compared or computed.
        """
        return self._evaluate(lambda path: _look_up(path, scope)) is True

    def foresee(self, item: Item) -> bool | None:
        """The same before any fact is known; None when it depends on facts. Raises ConditionError likewise.

        Also evaluates what stands behind a fact, so that mistakes in it show before any work.
        """
        scope = Scope(item)
        return self._evaluate(lambda path: UNKNOWN if path[0] in _RUNNING else _look_up(path, scope))

    @property
    def is_static(self) -> bool:
        """Whether the item alone decides it, before any work."""
        return not any(name[0] in _RUNNING for name in self.names)

    def value(self, scope: Scope) -> Any:
        """What the expression comes to; None if it comes to a variable or a fact that the item does not have.

        Raises ConditionError when the values cannot be computed.
        """
        evaluator = evaluator_of_thread(lambda path: _look_up(path, scope))
        try:
            return evaluator.eval(self.text, previously_parsed=self._tree)
        except _Missing:
            return None
        except (TypeError, ArithmeticError, ValueError) as error:
            raise ConditionError(f"`{self.text}` cannot be evaluated: {error}") from None

    def seen(self, scope: Scope) -> dict[str, Any]:
        """The names in it with their values, in order; None for what the item does not have."""
        return {".".join(path): _seen(path, scope) for path in sorted(self.names)}

    def _evaluate(self, look_up: LookUp) -> bool | None:
        evaluator = evaluator_of_thread(look_up)
        try:
            truth = truth_of(evaluator.eval(self.text, previously_parsed=self._tree))
        except _Missing:
            truth = None if evaluator.met_unknown else False
        except (TypeError, ArithmeticError, ValueError) as error:
            raise ConditionError(f"`{self.text}` cannot be evaluated: {error}") from None
        # A fact that the item turns out not to have makes the whole condition false.
        return None if truth and evaluator.met_unknown else truth


class Foresight:
    """Condition.foresee for many items: those that look alike to the condition are evaluated once."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._names = sorted(name for name in condition.names if name[0] not in _RUNNING)
        self._known: dict[tuple[Any, ...], bool | ConditionError | None] = {}

    def of(self, item: Item) -> bool | None:
        """As Condition.foresee. Raises ConditionError likewise."""
        key = tuple(self._seen(name, item) for name in self._names)
        if key not in self._known:
            try:
                self._known[key] = self._condition.foresee(item)
            except ConditionError as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, ConditionError):
            raise known
        return known

    @staticmethod
    def _seen(name: tuple[str, ...], item: Item) -> tuple[type, Any]:
        value = ITEM_NAMES[name[1]](item) if name[0] == "item" else item.vars.get(name[1], _Missing)
        return type(value), value


def _seen(path: tuple[str, ...], scope: Scope) -> Any:
    try:
        return _look_up(path, scope)
    except _Missing:
        return None


def _look_up(path: tuple[str, ...], scope: Scope) -> Any:
    try:
        if path[0] == "steps":
            return getattr(scope.steps.get(path[1], _NOT_VISITED), path[2])
        if path[0] == "item":
            return ITEM_NAMES[path[1]](scope.item)
        return scope.item.vars[path[1]] if path[0] == "vars" else scope.facts[path[1]][path[2]]
    except KeyError:
        raise _Missing from None
