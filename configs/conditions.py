"""Conditions of a recipe: small Python-like expressions over an item and the facts measured on its images."""

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from configs.documents.fields import Item
from configs.documents.problems import did_you_mean
from configs.failures import PixelmillError

MAX_LENGTH = 500  # characters
_MAX_NODES = 200
_MAX_BASE, _MAX_EXPONENT = 1_000_000, 64  # of a power
_FALSE_WORDS = frozenset({"false", "no", "off"})

THIS = "this"  # in place of a step's id: the current image of the item
CONSTANTS = {"true": True, "false": False, "null": None}
STEP_NAMES = ("visited", "attempts", "passed")
ITEM_NAMES: dict[str, Callable[[Item], Any]] = {
    "name": lambda item: item.name,
    "prompt": lambda item: item.prompt or "",
    "seed": lambda item: item.seed,
    "has_image": lambda item: item.image is not None,
    "has_mask": lambda item: item.mask is not None,
}
_FORMS = {
    "vars": "vars.<name>",
    "facts": "facts.<step id>.<fact>",
    "steps": "steps.<step id>.<name>",
    "item": "item.<name>",
}
_RUNTIME_NAMES = frozenset({"facts", "steps"})  # their values exist only once the recipe runs

NamePath = tuple[str, ...]  # such as ("vars", "kind") or ("facts", "cutout", "hole_ratio")
LookUp = Callable[[NamePath], Any]


class ConditionError(PixelmillError, ValueError):
    """The expression is not a condition, or its values cannot be compared. The message names what to change."""


class _MissingValue(Exception):
    """The item lacks a variable or a fact that the condition needs."""


@dataclass(frozen=True, slots=True)
class StepState:
    """The outcome of a step for an item, as conditions read it."""

    visited: bool = False
    attempts: int = 0
    passed: bool = False  # visited, and its gates were met


_NOT_VISITED = StepState()


@dataclass(frozen=True, slots=True)
class Scope:
    """The values that a condition can read.

    `facts` maps the ids of visited steps to their facts, and `this` to those of the item's current image. `steps` maps
    ids of earlier steps; a missing id counts as not visited.
    """

    item: Item
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    steps: Mapping[str, StepState] = field(default_factory=dict)

    def look_up(self, path: NamePath) -> Any:
        """Return the value of a name. Raises _MissingValue when the item has none."""
        try:
            if path[0] == "steps":
                return getattr(self.steps.get(path[1], _NOT_VISITED), path[2])
            if path[0] == "item":
                return ITEM_NAMES[path[1]](self.item)
            return self.item.vars[path[1]] if path[0] == "vars" else self.facts[path[1]][path[2]]
        except KeyError:
            raise _MissingValue from None

    def get(self, path: NamePath) -> Any:
        """Return the value of a name, or None when the item has none."""
        try:
            return self.look_up(path)
        except _MissingValue:
            return None


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition; immutable and safe to share between threads."""

    text: str
    names: frozenset[NamePath]
    _tree: ast.expr = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Parse comparisons, and/or/not, in, arithmetic, literals and lists. Raises ConditionError for all else."""
        tree = _parse(text)
        names: set[NamePath] = set()
        _check(tree, names)
        return cls(ast.unparse(tree), frozenset(names), tree)

    @property
    def is_static(self) -> bool:
        """Whether the item alone decides it, before any work."""
        return not any(name[0] in _RUNTIME_NAMES for name in self.names)

    def holds(self, scope: Scope) -> bool:
        """Return whether it is true; false when it needs a variable or a fact that the item lacks.

        Raises ConditionError when the values cannot be compared or computed.
        """
        return self._truth(scope.look_up) is True

    def foresee(self, item: Item) -> bool | None:
        """Return what `holds` will return before any fact is measured, or None if that depends on facts.

        Also evaluates what follows an unknown fact, so that mistakes show before any work. Raises ConditionError.
        """
        scope = Scope(item)
        return self._truth(lambda path: UNKNOWN if path[0] in _RUNTIME_NAMES else scope.look_up(path))

    def value(self, scope: Scope) -> Any:
        """Return the value of the expression, or None if it needs a variable or a fact that the item lacks.

        Raises ConditionError when the values cannot be computed.
        """
        try:
            return _Evaluation(scope.look_up).value(self._tree)
        except _MissingValue:
            return None
        except (TypeError, ArithmeticError, ValueError) as error:
            raise self._error(error) from None

    def seen(self, scope: Scope) -> dict[str, Any]:
        """Return the values of its names, sorted by name; None for what the item lacks."""
        return {".".join(path): scope.get(path) for path in sorted(self.names)}

    def _truth(self, look_up: LookUp) -> bool | None:
        evaluation = _Evaluation(look_up)
        try:
            truth = _truth_of(evaluation.value(self._tree))
        except _MissingValue:
            truth = None if evaluation.met_unknown else False
        except (TypeError, ArithmeticError, ValueError) as error:
            raise self._error(error) from None
        # A fact that turns out to be missing makes the whole condition false.
        return None if truth and evaluation.met_unknown else truth

    def _error(self, error: Exception) -> ConditionError:
        return ConditionError(f"`{self.text}` cannot be evaluated: {error}")


# -- parsing ---------------------------------------------------------------------------------------------------------


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"longer than {MAX_LENGTH} characters")
    lines = [line.strip() for line in text.strip().splitlines()]
    if not lines:
        raise ConditionError("is empty: write a condition or leave `when` out")
    if len(lines) > 1 and "#" in text:
        raise ConditionError("a condition of several lines cannot hold `#`")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as an invalid escape in a text
            tree = ast.parse(" ".join(lines), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConditionError(f"`{' '.join(lines)}` is not an expression: {reason or 'too complex'}") from None
    if sum(1 for _ in ast.walk(tree)) > _MAX_NODES:
        raise ConditionError("too complex: split it, or measure less")
    return tree


_HINTS: dict[type[ast.AST], str] = {
    ast.Call: "functions cannot be called",
    ast.Subscript: "`[…]` cannot look things up: write vars.name",
    ast.IfExp: "`if … else` is not supported: use and, or",
    ast.Is: "use == instead of `is`",
    ast.IsNot: "use != instead of `is not`",
    ast.NamedExpr: "a condition cannot assign",
    ast.BitAnd: "use `and` instead of &",
    ast.BitOr: "use `or` instead of |",
    ast.Invert: "use `not` instead of ~",
}
_PLAIN_NODES = (ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.List, ast.Tuple, ast.boolop, ast.Load)


def _check(node: ast.AST, names: set[NamePath]) -> None:
    """Refuse every kind of node that is not listed, and collect the names."""
    match node:
        case ast.Constant():
            if not isinstance(node.value, bool | int | float | str | None):
                raise ConditionError(f"{ast.unparse(node)} is not a text, number or boolean")
        case ast.Name() if node.id in CONSTANTS:
            pass
        case ast.Name() | ast.Attribute():
            path = _path_of(node)
            _check_name(path)
            names.add(path)
        case ast.operator() | ast.unaryop() | ast.cmpop():
            if type(node) not in OPERATORS:
                raise ConditionError(_HINTS.get(type(node), f"the operator {type(node).__name__} is not supported"))
        case _ if not isinstance(node, _PLAIN_NODES):
            raise ConditionError(_HINTS.get(type(node), f"{type(node).__name__} is not supported in a condition"))
        case _:
            for part in ast.iter_child_nodes(node):
                _check(part, names)


def _check_name(path: NamePath) -> None:
    form = _FORMS.get(path[0])
    if form is None:
        hint = did_you_mean(path[0], _FORMS)
        raise ConditionError(f"unknown name `{path[0]}`: write vars.<name>, facts.<step>.<fact> or a quoted text{hint}")
    if len(path) != 1 + form.count("."):
        raise ConditionError(f"`{'.'.join(path)}` must have the form {form}")
    if path[0] == "steps" and path[2] not in STEP_NAMES:
        raise ConditionError(f"`{'.'.join(path)}`: of a step there is {', '.join(STEP_NAMES)}")
    if path[0] == "item" and path[1] not in ITEM_NAMES:
        raise ConditionError(f"an item has no `{path[1]}`{did_you_mean(path[1], ITEM_NAMES)}")


def _path_of(node: ast.expr) -> NamePath:
    """Return the parts of a dotted name. Raises ConditionError for a part of anything but a name."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        return (*_path_of(node.value), node.attr)
    raise ConditionError(f"`{ast.unparse(node)}`: only vars, facts, steps and item have parts")


# -- evaluation ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that planning cannot have yet: a fact, or what is computed from one; its truth may still be certain."""

    truth: bool | None = None


UNKNOWN = Unknown()


def _is_unknown(value: Any) -> bool:
    return isinstance(value, Unknown) or (isinstance(value, list) and any(map(_is_unknown, value)))


def _truth_of(value: Any) -> bool | None:
    """Return Python's truth, or None if unknown. Raises TypeError for texts such as `no`, which only look false."""
    if isinstance(value, Unknown):
        return value.truth
    if isinstance(value, str) and value.casefold() in _FALSE_WORDS:
        raise TypeError(f"the text {value!r} would count as true; write false, or compare it")
    return bool(value)


class _Evaluation:
    """One pass over the tree of a condition. Values may be unknown."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self.met_unknown = False

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return CONSTANTS[node.id]
            case ast.Attribute():
                value = self._look_up(_path_of(node))
                self.met_unknown = self.met_unknown or isinstance(value, Unknown)
                return value
            case ast.Compare():
                return self._comparison(node)
            case ast.BoolOp():
                return self._logic(node)
            case ast.UnaryOp():
                return OPERATORS[type(node.op)](self.value(node.operand))
            case ast.BinOp():
                return OPERATORS[type(node.op)](self.value(node.left), self.value(node.right))
            case ast.List() | ast.Tuple():
                return [self.value(part) for part in node.elts]
        raise TypeError(f"{type(node).__name__} is not supported in a condition")

    def _logic(self, node: ast.BoolOp) -> Any:
        """Evaluate `and`, `or` as Python does, but go on after an unknown value, to find mistakes behind it."""
        decisive = isinstance(node.op, ast.Or)
        unknown = False
        value: Any = None
        for part in node.values:
            value = self.value(part)
            truth = _truth_of(value)
            unknown = unknown or truth is None
            if truth is decisive:
                return Unknown(decisive) if unknown else value
        return UNKNOWN if unknown else value

    def _comparison(self, node: ast.Compare) -> Any:
        left = self.value(node.left)
        unknown = False
        for operation, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part)
            result = OPERATORS[type(operation)](left, right)
            if isinstance(result, Unknown):
                unknown = True
            elif not result:
                return False
            left = right
        return UNKNOWN if unknown else True


def _numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Restrict arithmetic to numbers, so that no text or list can be multiplied."""

    def compute(*values: Any) -> Any:
        for value in values:
            if not isinstance(value, int | float):
                raise TypeError(f"arithmetic works on numbers, not on {value!r}")
        return function(*values)

    return compute


def _power(base: float, exponent: float) -> Any:
    if abs(base) > _MAX_BASE or abs(exponent) > _MAX_EXPONENT:
        raise ArithmeticError(f"{base} ** {exponent} is out of bounds")
    result = base**exponent
    if isinstance(result, complex):
        raise TypeError(f"{base} ** {exponent} is not a real number")
    return result


def _ordered(sign: str, function: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        try:
            return function(left, right)
        except TypeError:
            raise TypeError(f"{left!r} {sign} {right!r} compares different kinds of values") from None

    return compare


def _contains(item: Any, container: Any) -> bool:
    if isinstance(container, str) and not isinstance(item, str):
        raise TypeError(f"{item!r} cannot be in the text {container!r}")
    if not isinstance(container, str | list):
        raise TypeError(f"`in` needs a list or a text, not {container!r}")
    return item in container


def _negate(value: Any) -> Any:
    truth = _truth_of(value)
    return UNKNOWN if truth is None else not truth


def _lift(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make the result unknown where an operand is."""

    def compute(*values: Any) -> Any:
        return UNKNOWN if any(map(_is_unknown, values)) else function(*values)

    return compute


OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    kind: _lift(function)
    for kind, function in {
        ast.Add: _numbers(operator.add),
        ast.Sub: _numbers(operator.sub),
        ast.Mult: _numbers(operator.mul),
        ast.Div: _numbers(operator.truediv),
        ast.FloorDiv: _numbers(operator.floordiv),
        ast.Mod: _numbers(operator.mod),
        ast.Pow: _numbers(_power),
        ast.USub: _numbers(operator.neg),
        ast.UAdd: _numbers(operator.pos),
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
        ast.Lt: _ordered("<", operator.lt),
        ast.LtE: _ordered("<=", operator.le),
        ast.Gt: _ordered(">", operator.gt),
        ast.GtE: _ordered(">=", operator.ge),
        ast.In: _contains,
        ast.NotIn: lambda item, container: not _contains(item, container),
    }.items()
} | {ast.Not: _negate}
